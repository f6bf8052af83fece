"""What becomes of each way in which a provider can misbehave: F01 to F39 of the reliability page, on real sockets."""

from __future__ import annotations

import asyncio

import pytest

from stepwired.errors import Failure, Reason
from stepwired.events import Finished, FinishReason, Started, TextDelta
from tests.fakeprov import Behaviour, Exchange, Provider, behaviours
from tests.fakeprov.behaviours import DONE, chunk, event, transcript
from tests.providers.conftest import KEY, REQUEST, Clock, Wire, ask

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
RATE_LIMIT = {"error": {"message": "slow", "code": "rate_limit_exceeded"}}
GOOD = transcript(["Hel", "lo"])


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def redirect() -> Behaviour:
    return behaviours.status(307, {"location": "http://127.0.0.1:1/elsewhere"})


def _broken_later() -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        await exchange.send(CHUNKED + framed(chunk("Hello")))
        await behaviours.turns()
        await exchange.send(b"zz\r\n")
        await exchange.gone()

    return behave


#: Name, behaviour, the failure's reason, the text that came before it, what the call was allowed.
FAILING: list[tuple[str, Behaviour, Reason, str, dict[str, float]]] = [
    ("F01 429", behaviours.status(429, {"retry-after": "2"}, RATE_LIMIT), Reason.PROVIDER_RATE_LIMITED, "", {}),
    (
        "F06 quota",
        behaviours.status(429, {"retry-after": "2"}, {"error": {"type": "insufficient_quota"}}),
        Reason.PROVIDER_QUOTA_EXHAUSTED,
        "",
        {},
    ),
    *(
        (f"F07 {status}", behaviours.status(status), reason, "", {})
        for status, reason in {
            500: Reason.PROVIDER_ERROR,
            502: Reason.PROVIDER_ERROR,
            503: Reason.PROVIDER_OVERLOADED,
            504: Reason.PROVIDER_ERROR,
            529: Reason.PROVIDER_OVERLOADED,
            408: Reason.PROVIDER_ERROR,
        }.items()
    ),
    *(
        (f"F08 {status}", behaviours.status(status, {}, {"error": {"message": "no such model"}}), reason, "", {})
        for status, reason in {
            400: Reason.PROVIDER_REJECTED_REQUEST,
            401: Reason.PROVIDER_API_KEY_INVALID,
            403: Reason.PROVIDER_PERMISSION_DENIED,
            404: Reason.MODEL_NOT_FOUND,
            413: Reason.PROVIDER_REQUEST_TOO_LARGE,
            422: Reason.PROVIDER_REJECTED_REQUEST,
        }.items()
    ),
    (
        "F09 fails after the first token",
        behaviours.stream(chunk("Hel") + event({"error": {"type": "overloaded_error"}})),
        Reason.PROVIDER_OVERLOADED,
        "Hel",
        {},
    ),
    ("F12 never answers", behaviours.silent(), Reason.PROVIDER_TIMEOUT, "", {"first_byte_s": 0.2}),
    (
        "F13 dribbles its head",
        behaviours.dribble(CHUNKED * 100, 0.01),
        Reason.PROVIDER_TIMEOUT,
        "",
        {"first_byte_s": 0.2},
    ),
    (
        "F14 dribbles its body",
        behaviours.dribble(CHUNKED + framed(b": ") * 1000, 0.01),
        Reason.PROVIDER_TIMEOUT,
        "",
        {"total_s": 1.0},
    ),
    ("F14 falls silent", behaviours.stalled(), Reason.PROVIDER_STREAM_STALLED, "Hello", {"idle_s": 1.0}),
    ("F15 half-closes", behaviours.raw(CHUNKED, then="half_close"), Reason.PROVIDER_STREAM_TRUNCATED, "", {}),
    ("F16 resets", behaviours.truncated(then="reset"), Reason.PROVIDER_STREAM_TRUNCATED, "Hello", {}),
    ("F17 ends cleanly", behaviours.truncated(), Reason.PROVIDER_STREAM_TRUNCATED, "Hello", {}),
    ("F17 closes", behaviours.truncated(then="finish"), Reason.PROVIDER_STREAM_TRUNCATED, "Hello", {}),
    (
        "F17 closes where a close is the end",
        behaviours.raw(HEAD + b"connection: close\r\n\r\n" + chunk("Hello")),
        Reason.PROVIDER_STREAM_TRUNCATED,
        "Hello",
        {},
    ),
    ("F22 no JSON", behaviours.stream(chunk("Hel") + b"data: {\n\n"), Reason.PROVIDER_PROTOCOL_ERROR, "Hel", {}),
    ("F23 a line without end", behaviours.endless(b"x" * 65536), Reason.PROVIDER_RESPONSE_TOO_LARGE, "", {}),
    (
        "F24 a reply without end",
        behaviours.endless(b": hi\n\n" * 1000),
        Reason.PROVIDER_RESPONSE_TOO_LARGE,
        "",
        {"body_bytes": 1024 * 1024},
    ),
    *(
        (
            f"F25 {coding}",
            behaviours.stream(GOOD, {"content-encoding": coding}),
            Reason.PROVIDER_RESPONSE_TOO_LARGE,
            "",
            {},
        )
        for coding in ("gzip", "deflate", "br", "zstd", "identity, gzip")
    ),
    (
        "F27 content-length too long",
        behaviours.raw(HEAD + b"content-length: 9999\r\n\r\n" + chunk("Hello")),
        Reason.PROVIDER_STREAM_TRUNCATED,
        "Hello",
        {},
    ),
    (
        "F27 a chunk cut short",
        behaviours.raw(CHUNKED + framed(chunk("Hello")) + b"ff\r\ndata"),
        Reason.PROVIDER_STREAM_TRUNCATED,
        "Hello",
        {},
    ),
    ("F27 a chunk of no size", behaviours.raw(CHUNKED + b"zz\r\n"), Reason.PROVIDER_PROTOCOL_ERROR, "", {}),
    ("F27 no chunk later on", _broken_later(), Reason.PROVIDER_STREAM_TRUNCATED, "Hello", {}),
    (
        "F27 a large header",
        behaviours.raw(HEAD + b"x: " + b"y" * 200_000 + b"\r\n\r\n"),
        Reason.PROVIDER_RESPONSE_TOO_LARGE,
        "",
        {},
    ),
    (
        "F27 large headers",
        behaviours.raw(HEAD + b"x: %b\r\n" % (b"y" * 8000) * 10 + b"\r\n"),
        Reason.PROVIDER_RESPONSE_TOO_LARGE,
        "",
        {},
    ),
    (
        "F27 1,000 headers",
        behaviours.raw(HEAD + b"x: y\r\n" * 1000 + b"\r\n"),
        Reason.PROVIDER_PROTOCOL_ERROR,
        "",
        {},
    ),
    ("F27 nothing", behaviours.hang_up(), Reason.PROVIDER_UNREACHABLE, "", {}),
    ("F27 a reset", behaviours.hang_up(with_reset=True), Reason.PROVIDER_UNREACHABLE, "", {}),
    ("F27 half a head", behaviours.raw(HEAD), Reason.PROVIDER_UNREACHABLE, "", {}),
    ("F27 no HTTP", behaviours.raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), Reason.PROVIDER_PROTOCOL_ERROR, "", {}),
    ("F27 TLS", behaviours.raw(b"\x15\x03\x01\x00\x02\x02\x46"), Reason.PROVIDER_PROTOCOL_ERROR, "", {}),
    (
        "F28 HTML",
        behaviours.status(200, {"content-type": "text/html; charset=utf-8"}, b"<html>log in</html>"),
        Reason.PROVIDER_PROTOCOL_ERROR,
        "",
        {},
    ),
    ("F29 elsewhere", redirect(), Reason.PROVIDER_REDIRECT_REFUSED, "", {}),
    (
        "F30 an error instead of chunks",
        behaviours.stream(event({"error": {"type": "overloaded_error"}})),
        Reason.PROVIDER_OVERLOADED,
        "",
        {},
    ),
    (
        "F30 an error that is no stream",
        behaviours.status(200, {}, {"error": {"message": "no", "type": "rate_limit_error"}}),
        Reason.PROVIDER_RATE_LIMITED,
        "",
        {},
    ),
    (
        "F31 JSON nested 100,000 deep",
        behaviours.stream(b'data: {"x":' + b"[" * 100_000 + b"\n\n"),
        Reason.PROVIDER_PROTOCOL_ERROR,
        "",
        {},
    ),
    (
        "F35 100 for ever",
        behaviours.dribble(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000, 0.001),
        Reason.PROVIDER_TIMEOUT,
        "",
        {"first_byte_s": 0.2},
    ),
]


@pytest.mark.parametrize(
    ("behaviour", "reason", "text", "budget"), [row[1:] for row in FAILING], ids=[row[0] for row in FAILING]
)
async def test_it_fails_with_its_reason_after_what_came_before_and_asks_no_second_time(
    wire: Wire, behaviour: Behaviour, reason: Reason, text: str, budget: dict[str, float]
) -> None:
    async with Provider(behaviour) as provider:
        outcome = await ask(wire(provider.base_url, **budget))
        assert outcome.failure is not None
        assert (outcome.failure.reason, outcome.text) == (reason, text)
        assert outcome.failure.metadata["provider"] == "acme"
        assert KEY not in str(outcome.failure) + repr(outcome.failure.metadata)
        assert not any(isinstance(event, Finished) for event in outcome.events)
        assert len(provider.requests) == 1
        # Nothing it does keeps it from being asked again, and well.
        provider.behaviour = behaviours.reply()
        assert (await ask(wire(provider.base_url))).text == "Hello"


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


async def test_bytes_that_are_no_utf8_are_replaced_and_the_reply_goes_on(wire: Wire) -> None:  # F21
    body = chunk("a@").replace(b"@", b"\xe2\x82") + chunk("b") + DONE
    async with Provider(behaviours.stream(body)) as provider:
        assert (await ask(wire(provider.base_url))).text == "a\ufffdb"


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


async def test_a_line_without_end_is_given_up_after_a_mebibyte(wire: Wire) -> None:  # F23
    async with Provider(behaviours.endless(b"x" * 65536)) as provider:
        await ask(wire(provider.base_url))
        await provider.closed()
    assert provider.connections[0].sent_bytes < 8 * 1024 * 1024  # what buffers hold, and no more


async def test_the_content_type_that_should_not_be_is_named(wire: Wire) -> None:  # F28
    async with Provider(behaviours.status(200, {"content-type": "text/html"}, b"<html>")) as provider:
        outcome = await ask(wire(provider.base_url))
    assert "text/html" in str(outcome.failure)


async def test_a_redirect_is_not_followed(wire: Wire) -> None:  # F29
    async with Provider(behaviours.reply()) as elsewhere:
        there = {"location": f"{elsewhere.base_url}/chat/completions"}
        async with Provider(behaviours.status(307, there)) as provider:
            await ask(wire(provider.base_url))
    assert not elsewhere.connections


async def test_a_key_that_an_error_echoes_is_not_passed_on(wire: Wire) -> None:  # F39
    echo = {"error": {"message": f"Incorrect API key provided: {KEY}", "code": KEY, "param": KEY}}
    async with Provider(behaviours.status(400, {"x-echo": KEY}, echo)) as provider:
        outcome = await ask(wire(provider.base_url))
    failure = outcome.failure
    assert failure is not None
    assert KEY not in f"{failure} {failure.metadata} {failure.violations} {failure.subject}"


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
