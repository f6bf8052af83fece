"""What is a whole reply of a server of the OpenAI wire, and how one is read; what goes wrong is `misbehaviours`."""

from __future__ import annotations

import asyncio

import pytest

from stepwired.errors import Failure, Reason
from stepwired.events import Finished, FinishReason, Started, TextDelta
from tests.fakeprov import Behaviour, Exchange, Provider, behaviours
from tests.fakeprov.behaviours import DONE, chunk, transcript
from tests.providers.conftest import KEY, REQUEST, Clock, Wire, ask
from tests.providers.misbehaving import framed

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
RATE_LIMIT = {"error": {"message": "slow", "code": "rate_limit_exceeded"}}
GOOD = transcript(["Hel", "lo"])


#: Name, behaviour, and why the reply finished; the text is "Hello" each time.
GOOD_ENOUGH: list[tuple[str, Behaviour, FinishReason]] = [
    ("a good one", behaviours.reply(), FinishReason.STOP),
    ("all in one", behaviours.stream(GOOD), FinishReason.STOP),
    ("byte by byte", behaviours.stream(GOOD, cuts=range(len(GOOD))), FinishReason.STOP),
    ("F18 no reason", behaviours.stream(chunk("Hel") + chunk("lo") + DONE), FinishReason.UNKNOWN),
    ("F18 no [DONE]", behaviours.stream(chunk("Hello") + chunk(finish="stop")), FinishReason.STOP),
    ("F19 more after [DONE]", behaviours.stream(GOOD + chunk("more")), FinishReason.STOP),
    ("F20 no end after [DONE]", behaviours.stalled(after=chunk(finish="stop") + DONE), FinishReason.STOP),
    ("closes after [DONE]", behaviours.raw(CHUNKED + framed(GOOD)), FinishReason.STOP),
    ("resets after [DONE]", behaviours.raw(CHUNKED + framed(GOOD), then="reset"), FinishReason.STOP),
    (
        "closes after its reason",
        behaviours.raw(CHUNKED + framed(chunk("Hello")) + framed(chunk(finish="length"))),
        FinishReason.LENGTH,
    ),
    ("a body that a close ends", behaviours.raw(HEAD + b"connection: close\r\n\r\n" + GOOD), FinishReason.STOP),
    ("F26 charset", behaviours.stream(GOOD, {"content-type": "text/event-stream; charset=utf-16"}), FinishReason.STOP),
    ("no content type", behaviours.raw(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + GOOD), FinishReason.STOP),
    ("identity", behaviours.stream(GOOD, {"content-encoding": "Identity"}), FinishReason.STOP),
    (
        "F35 1,000 early hints",
        behaviours.raw(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 1000 + CHUNKED + framed(GOOD), then="keep"),
        FinishReason.STOP,
    ),
]


@pytest.mark.parametrize(("behaviour", "reason"), [row[1:] for row in GOOD_ENOUGH], ids=[row[0] for row in GOOD_ENOUGH])
async def test_it_is_a_whole_reply(wire: Wire, behaviour: Behaviour, reason: FinishReason) -> None:
    async with Provider(behaviour) as provider:
        outcome = await ask(wire(provider.base_url))
    assert outcome.failure is None
    first, *deltas, last = outcome.events
    assert first == Started("fake-1", "acme")
    assert all(isinstance(delta, TextDelta) for delta in deltas)
    assert isinstance(last, Finished)
    assert (outcome.text, last.reason) == ("Hello", reason)
    assert [message.text for message in last.messages] == ["Hello"]


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "9", "retry-after-ms": "700"}, 0.7),  # F03
        ({"retry-after": "Fri, 31 Dec 2200 23:59:59 GMT"}, 5.0),  # F02, F04: too far away to be meant
        ({"retry-after": "-1"}, 5.0),
        ({"retry-after": "3600"}, 3600.0),
    ],
)
async def test_a_rate_limit_says_when_to_come_back(wire: Wire, headers: dict[str, str], wait_s: float) -> None:
    async with Provider(behaviours.status(429, headers, RATE_LIMIT)) as provider:
        outcome = await ask(wire(provider.base_url))
    assert outcome.failure is not None
    assert outcome.failure.retry_after_s == wait_s


async def test_the_content_type_that_should_not_be_is_named(wire: Wire) -> None:  # F28
    async with Provider(behaviours.status(200, {"content-type": "text/html"}, b"<html>")) as provider:
        outcome = await ask(wire(provider.base_url))
    assert "text/html" in str(outcome.failure)


async def test_an_error_body_without_end_is_read_to_a_limit(wire: Wire) -> None:
    async def behave(exchange: Exchange) -> None:
        await exchange.head(500)
        while True:
            await exchange.chunk(b"x" * 65536)

    async with Provider(behave) as provider:
        outcome = await ask(wire(provider.base_url))
        await provider.closed()
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.PROVIDER_ERROR
    assert provider.connections[0].sent_bytes < 8 * 1024 * 1024


async def test_a_batch_is_what_one_read_completed(wire: Wire) -> None:
    async with Provider(behaviours.stream(transcript(["a"] * 100))) as provider:
        outcome = await ask(wire(provider.base_url))
    assert len(outcome.batches) < 5
    assert len(outcome.events) == 102


async def test_a_slow_reader_gets_larger_batches_and_stops_the_provider(wire: Wire) -> None:
    async with Provider(behaviours.flood(2_000_000)) as provider:
        batches = wire(provider.base_url).chat(REQUEST)
        await anext(batches)
        before = -1
        while (sent := provider.connections[0].sent_bytes) != before:  # until all buffers are full
            before = sent
            await behaviours.turns()
        assert sent < 16 * 1024 * 1024
        assert len(await anext(batches)) > 100
        await batches.aclose()
        await provider.closed()


async def test_a_reader_that_is_slow_for_longer_than_a_silence_may_last_is_not_the_providers_fault(
    wire: Wire, clock: Clock
) -> None:
    release = asyncio.Event()
    async with Provider(behaviours.paused(GOOD, len(chunk("", role="assistant")), release)) as provider:
        batches = wire(provider.base_url).chat(REQUEST)
        got = [*await anext(batches)]
        for _ in range(4):
            await clock.pass_by(50.0)
        release.set()
        await behaviours.turns()
        got += [event async for batch in batches for event in batch]
    assert isinstance(got[-1], Finished)


async def test_what_arrived_before_the_connection_broke_is_read_however_late(wire: Wire) -> None:
    async with Provider(behaviours.raw(CHUNKED + framed(chunk("Hel")) + framed(chunk("lo")))) as provider:
        first = asyncio.Event()

        async def behave(exchange: Exchange) -> None:
            await exchange.send(CHUNKED + framed(chunk("Hel")))
            await first.wait()
            await exchange.send(framed(chunk("lo")))
            exchange.finish()

        provider.behaviour = behave
        batches = wire(provider.base_url).chat(REQUEST)
        await anext(batches)
        first.set()
        await provider.closed()
        await behaviours.turns()  # the end has arrived here, too
        assert await anext(batches) == [TextDelta("lo")]
        with pytest.raises(Failure) as failed:
            await anext(batches)
    assert failed.value.reason is Reason.PROVIDER_STREAM_TRUNCATED


async def test_the_request_is_what_it_should_be_and_carries_the_key(wire: Wire) -> None:
    async with Provider(behaviours.reply()) as provider:
        await ask(wire(provider.base_url))
    request = provider.requests[0]
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert "cookie" not in request.headers
