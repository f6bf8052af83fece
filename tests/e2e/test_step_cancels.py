"""However a run of sixty-four chats ends early, all their sockets are closed; `pytest -s` tells how soon."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from stepwire.v1 import step_run_pb2_grpc
from tests.e2e.conftest import Scripted
from tests.e2e.test_cancel import CLOSED_S, descriptors, until_asked
from tests.fakeprov import Behaviour, behaviours
from tests.fakeprov.provider import Exchange
from tests.program import HANG_S
from tests.rpc.talking import begun

MANY = 64
CHAT = {"step": {"chat": {}}, "max_concurrency": MANY}
TIME_S = 2.0
"""Enough for sixty-four connections on a busy machine."""

Steps = list[dict[str, Any]]

#: Each has sixty-four chats open at once, over the input that goes with it.
SIDE_BY_SIDE: dict[str, tuple[Steps, Any]] = {
    "parallel": ([{"parallel": CHAT}], ["hi"] * MANY),
    "parallel as completed": ([{"parallel": CHAT | {"as_completed": True}}], ["hi"] * MANY),
    "map": ([{"map": {"step": {"chat": {}, "max_concurrency": MANY}}}], ["hi"] * MANY),
    "spread": ([{"spread": {}}, {"chat": {}, "max_concurrency": MANY}], ["hi"] * MANY),
    "parallels in a map": (
        [{"map": {"step": {"parallel": CHAT | {"max_concurrency": 8}, "max_concurrency": 8}}}],
        [["hi"] * 8] * 8,
    ),
}
PARALLEL, INPUT = SIDE_BY_SIDE["parallel"]


class Runs:
    """Begins runs on a real server, by each of the calls that can."""

    def __init__(self, scripted: Scripted, channel: grpc.aio.Channel) -> None:
        self.provider = scripted.provider
        self.behave = scripted.behave
        self.program = scripted.program
        self._scripted = scripted
        self._before: dict[int, int] = {}
        self._stub: Any = step_run_pb2_grpc.StepRunServiceStub(channel)

    async def begin(self, method: str, steps: Steps, value: Any, timeout_s: float | None = None) -> Any:
        """The call, of which nothing has been read."""
        return await begun(self._stub, method, steps, value, timeout_s)

    async def results(self, steps: Steps, value: Any) -> list[str]:
        """Texts of messages and reasons of failures, to the end of a run."""
        async with asyncio.timeout(HANG_S):
            call = await self.begin("RunStep", steps, value)
            events = [event async for event in call]
        return [event.message.text or event.failure.reason for event in events if event.WhichOneof("event") in MADE]

    def forget(self) -> None:
        """Count anew what the provider is asked, and on which connections."""
        self.provider.requests.clear()
        self._before = {id(each): each.requests for each in self.provider.connections}

    async def asked(self, count: int = MANY) -> None:
        """Wait until the provider has been asked so often."""
        await until_asked(self._scripted, count)

    async def closed(self, *, but: int = 0) -> list[float]:
        """Wait until all connections on which the provider was asked are closed but so many; when they were.

        And those on which it was not asked, which the server may have left before the provider has seen it: they would
        be taken for less than the server holds.
        """
        used = [each for each in self.provider.connections if each.requests > self._before.get(id(each), 0)]
        async with asyncio.timeout(CLOSED_S):
            while sum(each.closed_at is None for each in used) > but or any(  # noqa: ASYNC110
                each.closed_at is None and not each.requests for each in self.provider.connections
            ):
                await asyncio.sleep(0)
        return [each.closed_at for each in used if each.closed_at is not None]

    def descriptors(self) -> int:
        """How many the server has open, beside the provider's idle connections."""
        return descriptors(self.program.process.pid) - self.provider.live

    async def settled(self, descriptors: int) -> bool:
        """Wait until the server has no more open than so many."""
        deadline = time.monotonic() + CLOSED_S
        while self.descriptors() > descriptors and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return self.descriptors() <= descriptors


MADE = {"message", "failure"}

#: Ends a run of sixty-four chats early, and says when.
Way = Callable[[Runs], Awaitable[float]]


@pytest.fixture
async def runs(scripted: Scripted) -> AsyncGenerator[Runs]:
    async with scripted.program.channel() as channel:
        yield Runs(scripted, channel)


async def leaves_nothing(runs: Runs, what: str, way: Way, *, but: int = 0) -> None:
    """End runs in this way, twice: the second leaves no more behind than the first, and a third is answered."""
    kept: list[int] = []
    for _ in range(2):
        runs.forget()
        runs.behave(behaviours.silent())
        since_s = await way(runs)
        late_ms = sorted(1000 * (at - since_s) for at in await runs.closed(but=but))
        assert len(late_ms) + but >= MANY
        print(f"\n{what}: {len(late_ms)} closed, median {statistics.median(late_ms):.1f} ms, worst {late_ms[-1]:.1f}")
        kept.append(runs.descriptors())
    assert await runs.settled(kept[0])
    runs.behave(behaviours.reply(["o", "k"]))
    assert await runs.results(PARALLEL, INPUT) == ["ok"] * MANY


def cancelling(method: str, steps: Steps, value: Any) -> Way:
    async def cancelled(runs: Runs) -> float:
        call = await runs.begin(method, steps, value)
        await runs.asked()
        now_s = time.monotonic()
        call.cancel()
        await call.code()
        return now_s

    return cancelled


@pytest.mark.parametrize("method", ["RunStep", "CollectStep", "RunInteractive"])
async def test_a_cancelled_run_closes_every_socket(runs: Runs, method: str) -> None:
    for name, (steps, value) in SIDE_BY_SIDE.items():
        await leaves_nothing(runs, f"{name}, {method} cancelled", cancelling(method, steps, value))


async def test_a_run_that_is_cancelled_while_it_connects_closes_every_socket(runs: Runs) -> None:
    async def cancelled(runs: Runs) -> float:
        for count in (0, 1, 7, 63):
            runs.forget()
            call = await runs.begin("RunStep", PARALLEL, INPUT)
            await runs.asked(count)
            call.cancel()
            call.cancel()
            await call.code()
            await runs.closed()
        runs.forget()
        call = await runs.begin("RunStep", PARALLEL, INPUT)
        await runs.asked()
        now_s = time.monotonic()
        call.cancel()
        call.cancel()
        return now_s

    await leaves_nothing(runs, "cancelled twice", cancelled)


async def test_a_deadline_closes_every_socket(runs: Runs) -> None:
    async def late(runs: Runs) -> float:
        ends_s = time.monotonic() + TIME_S
        call = await runs.begin("RunStep", PARALLEL, INPUT, TIME_S)
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        return ends_s

    await leaves_nothing(runs, "deadline", late)


_LEAVER = """
import sys, grpc
from google.protobuf import json_format
from stepwire.v1 import step_run_pb2, step_run_pb2_grpc
stub = step_run_pb2_grpc.StepRunServiceStub(grpc.insecure_channel(sys.argv[1]))
for event in stub.RunStep(json_format.Parse(sys.argv[2], step_run_pb2.RunStepRequest())):
    pass
"""


async def test_a_killed_client_closes_every_socket(runs: Runs) -> None:
    async def killed(runs: Runs) -> float:
        spec = json.dumps({"steps": PARALLEL, "input": INPUT})
        client = await asyncio.create_subprocess_exec(sys.executable, "-c", _LEAVER, runs.program.address, spec)
        await runs.asked()
        now_s = time.monotonic()
        client.kill()
        await client.wait()
        return now_s

    await leaves_nothing(runs, "client killed", killed)


@pytest.mark.parametrize("is_around", [True, False], ids=["around", "within"])
async def test_a_timeout_closes_every_socket(runs: Runs, is_around: bool) -> None:
    limited: dict[str, Any] = {"step": PARALLEL[0] if is_around else {"chat": {}}, "limit": f"{TIME_S}s"}
    inner = {"timeout": limited}
    steps = [inner] if is_around else [{"parallel": CHAT | {"step": inner}}]

    async def late(runs: Runs) -> float:
        ends_s = time.monotonic() + TIME_S
        assert await runs.results(steps, INPUT) == ["STEP_TIMEOUT"] * (1 if is_around else MANY)
        return ends_s

    await leaves_nothing(runs, f"timeout {'around' if is_around else 'within'}", late)


def answering(one: str, behaviour: Behaviour, release: asyncio.Event) -> Behaviour:
    """Silent, but for the request with this text, which is answered when `release` is set."""

    async def behave(exchange: Exchange) -> None:
        if exchange.request.json()["messages"][-1]["content"] != one:
            await exchange.gone()
        await release.wait()
        await behaviour(exchange)

    return behave


#: What the request of the last chat, or the first, is answered with, and what is made of that.
ENDED_WITHIN: dict[str, tuple[Steps, list[str], Behaviour, list[str]]] = {
    "fail fast": (
        [{"parallel": CHAT | {"fail_fast": True}}],
        [*["hi"] * 63, "one"],
        behaviours.status(400),
        ["PROVIDER_REJECTED_REQUEST"],
    ),
    "fail fast as completed": (
        [{"parallel": CHAT | {"fail_fast": True, "as_completed": True}}],
        [*["hi"] * 63, "one"],
        behaviours.status(400),
        ["PROVIDER_REJECTED_REQUEST"],
    ),
    "take": (
        [{"spread": {}}, {"chat": {}, "max_concurrency": MANY}, {"take": {"count": 1}}],
        ["one", *["hi"] * 63],
        behaviours.reply(["o", "k"]),
        ["ok"],
    ),
    "take as completed": (
        [{"spread": {}}, {"chat": {}, "max_concurrency": MANY, "as_completed": True}, {"take": {"count": 1}}],
        [*["hi"] * 63, "one"],
        behaviours.reply(["o", "k"]),
        ["ok"],
    ),
    "take after parallel": (
        [{"parallel": CHAT | {"as_completed": True}}, {"take": {"count": 1}}],
        [*["hi"] * 63, "one"],
        behaviours.reply(["o", "k"]),
        ["ok"],
    ),
}


def ending(steps: Steps, texts: list[str], behaviour: Behaviour, results: list[str]) -> Way:
    async def ended(runs: Runs) -> float:
        release = asyncio.Event()
        runs.behave(answering("one", behaviour, release))
        run = asyncio.create_task(runs.results(steps, texts))
        await runs.asked()
        now_s = time.monotonic()
        release.set()
        assert await run == results
        return now_s

    return ended


async def test_a_run_that_needs_no_more_closes_every_socket(runs: Runs) -> None:
    for name, how in ENDED_WITHIN.items():
        await leaves_nothing(runs, name, ending(*how), but=1)  # the one that was answered is kept for another request


async def test_a_silent_endpoint_of_embeddings_is_left_too(runs: Runs) -> None:
    leaves: list[tuple[dict[str, Any], Any]] = [
        ({"embed": {}}, "a"),
        ({"search": {}}, {"query": "a", "documents": ["b"]}),
    ]
    for leaf, value in leaves:
        steps = [{"parallel": CHAT | {"step": leaf}}]
        await leaves_nothing(runs, f"{leaf} cancelled", cancelling("RunStep", steps, _different(value)))


def _different(value: Any) -> list[Any]:
    """Sixty-four values whose texts are not those of another, so that each is asked for by itself."""
    as_text = json.dumps(value)
    return [json.loads(as_text.replace('"a"', f'"a{number}"')) for number in range(MANY)]
