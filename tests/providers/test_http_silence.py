"""Each kind of waiting for a provider has its end, and what is no silence ends nothing."""

from __future__ import annotations

import asyncio

import pytest

from stepwired.errors import Failure, Reason
from stepwired.providers.base import Budget
from tests.fakeprov import Behaviour, Exchange, Provider, behaviours
from tests.fakeprov.behaviours import DONE, STREAM, chunk
from tests.providers.conftest import REQUEST, Clock, Outcome, Wire, ask


@pytest.mark.parametrize(
    ("timing", "behaviour", "phase", "reason"),
    [
        ({"first_byte_s": 0.1}, behaviours.silent(), "first_byte", Reason.PROVIDER_TIMEOUT),
        ({"total_s": 1.0}, behaviours.endless(chunk("a"), 0.01), "total", Reason.PROVIDER_TIMEOUT),
        ({"idle_s": 1.0}, behaviours.stalled(), None, Reason.PROVIDER_STREAM_STALLED),
    ],
)
async def test_each_kind_of_waiting_has_its_end_and_its_failure(
    wire: Wire, timing: dict[str, float], behaviour: Behaviour, phase: str | None, reason: Reason
) -> None:
    async with Provider(behaviour) as provider:
        outcome = await ask(wire(provider.base_url, **timing))
        await provider.closed()
    assert outcome.failure is not None
    assert (outcome.failure.reason, outcome.failure.metadata.get("phase")) == (reason, phase)
    assert outcome.failure.metadata["timeoutMs"] == str(round(next(iter(timing.values())) * 1000))


async def test_a_reply_whose_time_is_up_is_closed_though_nobody_reads_it(wire: Wire, clock: Clock) -> None:
    exchanges: asyncio.Queue[Exchange] = asyncio.Queue()
    async with Provider(handing_over(exchanges)) as provider:
        batches = wire(provider.base_url).chat(REQUEST)
        first = asyncio.ensure_future(anext(batches))
        exchange = await exchanges.get()
        await exchange.head(200, STREAM)
        await exchange.chunk(chunk("a"))
        await first
        await exchange.chunk(chunk("b"))
        await behaviours.turns()
        await clock.pass_by(Budget().total_s + 1)
        await provider.closed()
        await anext(batches)  # what had arrived
        with pytest.raises(Failure) as failed:
            await anext(batches)
    assert failed.value.metadata["phase"] == "total"


def handing_over(exchanges: asyncio.Queue[Exchange]) -> Behaviour:
    """The test itself answers."""

    async def behave(exchange: Exchange) -> None:
        exchanges.put_nowait(exchange)
        await exchange.gone()

    return behave


async def said_slowly(wire: Wire, clock: Clock, piece: bytes) -> Outcome:
    """What becomes of a reply with 40 s before each of its pieces, where 60 s of silence are too many."""
    exchanges: asyncio.Queue[Exchange] = asyncio.Queue()
    async with Provider(handing_over(exchanges)) as provider:
        task = asyncio.create_task(ask(wire(provider.base_url)))
        exchange = await exchanges.get()
        await exchange.head(200, STREAM)
        await exchange.chunk(chunk("", role="assistant"))
        await behaviours.turns()
        for data in (piece, piece, piece, chunk(finish="length") + DONE):
            await clock.pass_by(40.0)
            if exchange.connection.closed.is_set():
                break
            await exchange.chunk(data)
            await behaviours.turns()
        return await asyncio.wait_for(task, 30)


def tool_call(**function: str) -> bytes:
    return chunk(tool_calls=[{"index": 0, "function": function}])


SAID = [
    pytest.param(chunk("a"), id="text"),
    pytest.param(chunk(reasoning="a"), id="reasoning"),
    pytest.param(tool_call(name="f", arguments=" "), id="tool calls"),
]


UNSAID = [
    pytest.param(b": ping\n\n", id="comments"),
    pytest.param(b"\n", id="blank lines"),
    pytest.param(b"event: ping\ndata: {}\n\n", id="events of another name"),
    pytest.param(chunk(""), id="chunks without text"),
    pytest.param(tool_call(arguments=""), id="tool calls without content"),
]


@pytest.mark.parametrize("piece", SAID)
async def test_what_goes_on_is_no_silence(wire: Wire, clock: Clock, piece: bytes) -> None:
    outcome = await said_slowly(wire, clock, piece)
    assert outcome.failure is None


@pytest.mark.parametrize("piece", UNSAID)
async def test_what_says_nothing_leaves_a_silence_what_it_is(wire: Wire, clock: Clock, piece: bytes) -> None:  # F14
    outcome = await said_slowly(wire, clock, piece)
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.PROVIDER_STREAM_STALLED
