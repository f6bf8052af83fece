from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from stepwire.v1 import chat_pb2
from stepwired.errors import Failure, Reason, Throttled, Unavailable
from stepwired.events import Batch, Chat, ChatRequest, TextDelta
from stepwired.limits import Limits
from tests.rpc.serving import STARTED, Silent, finished, read, serve, told, until, within

HI = chat_pb2.StreamChatRequest(prompt="hi")


def failing(make: Callable[[], BaseException], *, after: Batch = ()) -> Chat:
    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        if after:
            yield after
        raise make()

    return chat


async def test_nothing_is_sent_before_the_models_first_event() -> None:
    silent = Silent()
    async with serve(silent.chat) as client:
        call = client.chat.StreamChat(HI)
        headers = asyncio.ensure_future(call.initial_metadata())
        await within(silent.asked.wait())
        # The model waits for ever: had the headers been sent, they would come before the answer of another call.
        other: Any = client.channel.unary_unary("/grpc.health.v1.Health/Check")
        await within(other(b""))
        assert not headers.done()
        call.cancel()
        await within(headers)


async def test_an_error_that_nobody_foresaw_tells_the_client_nothing_and_the_log_where_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serve(failing(lambda: RuntimeError("secret sk-abc123"))) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await within(client.chat.StreamChat(HI).read())
    error = told(caught.value)
    assert error.code is grpc.StatusCode.INTERNAL
    assert error.reason == "INTERNAL"
    assert error.message == f"internal error; request_id {error.request_id}"
    assert "sk-abc123" not in repr(caught.value)
    (crash,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert error.request_id in crash.getMessage()
    assert "error=builtins.RuntimeError\n" in crash.getMessage()
    assert "in chat" in crash.getMessage()
    assert "sk-abc123" not in caplog.text
    assert caplog.records[-1].getMessage().endswith("code=INTERNAL reason=INTERNAL")


async def test_a_failure_after_the_first_piece_says_that_there_was_one() -> None:
    broken = failing(lambda: Unavailable(Reason.PROVIDER_STREAM_TRUNCATED, "cut off"), after=[STARTED, TextDelta("a")])
    async with serve(broken) as client:
        call = client.chat.StreamChat(HI)
        assert (await read(call)).HasField("started")
        assert (await read(call)).text_delta.text == "a"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(call)
    assert told(caught.value).facts == {"partial": "true"}


async def test_text_that_is_no_unicode_ends_the_stream_with_a_reason() -> None:
    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [STARTED, TextDelta("ok")]
        yield [TextDelta("\ud83d")]

    async with serve(chat) as client:
        call = client.chat.StreamChat(HI)
        await read(call)
        await read(call)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(call)
    assert told(caught.value).reason == "PROVIDER_PROTOCOL_ERROR"


@pytest.mark.parametrize("given", ["abc-123", "x" * 36, "with space"])
async def test_the_callers_request_id_is_kept(given: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serve() as client:
        call = client.chat.StreamChat(chat_pb2.StreamChatRequest(), metadata=(("x-request-id", given),))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(call)
    assert told(caught.value).request_id == told(caught.value).trailers["x-request-id"] == given
    assert f"request_id={given} " in caplog.text


@pytest.mark.parametrize("given", ["", "x" * 37])
async def test_a_request_id_that_is_none_is_replaced(given: str) -> None:
    async with serve() as client:
        call = client.chat.StreamChat(HI, metadata=(("x-request-id", given),))
        async for _ in call:
            pass
        made = dict(await call.trailing_metadata())["x-request-id"]
    assert made != given
    assert len(made) == 36


async def test_a_failed_call_is_logged_in_one_line_without_what_was_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "stepwired")
    limited = failing(lambda: Throttled(Reason.PROVIDER_RATE_LIMITED, "rate limit reached"))
    async with serve(limited) as client:
        with pytest.raises(grpc.aio.AioRpcError):
            await within(client.chat.Chat(chat_pb2.ChatRequest(prompt="a secret question")))
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("stepwired")]
    assert line.endswith("method=/stepwire.v1.ChatService/Chat code=RESOURCE_EXHAUSTED reason=PROVIDER_RATE_LIMITED")


async def test_calls_above_the_limit_are_refused_at_once_and_room_is_made_again() -> None:
    silent = Silent()
    async with serve(silent.chat, limits=Limits(max_calls=2)) as client:
        calls = [client.chat.StreamChat(HI) for _ in range(2)]
        reads = [asyncio.ensure_future(call.read()) for call in calls]
        await until(lambda: silent.running == 2)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await within(client.chat.StreamChat(HI).read())
        error = told(caught.value)
        assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CONCURRENCY_LIMITED")
        assert error.facts == {"limit": "2"}
        assert error.trailers["grpc-retry-pushback-ms"] == "1000"
        assert "QuotaFailure" in error.kinds
        for call in calls:
            call.cancel()
        await asyncio.gather(*reads, return_exceptions=True)
        await within(silent.stopped.wait())
        again = client.chat.StreamChat(HI)
        read = asyncio.ensure_future(again.read())
        await until(lambda: silent.running == 1)
        again.cancel()
        await asyncio.gather(read, return_exceptions=True)


async def test_a_burst_of_two_thousand_streams_is_answered_in_full() -> None:
    async with serve() as client:

        async def one() -> str:
            return "".join([event.text_delta.text async for event in client.chat.StreamChat(HI)])

        texts = await asyncio.gather(*(one() for _ in range(2000)))
    assert texts == ["hi"] * 2000
    assert {(code, reason) for _, code, reason in client.metrics.calls} == {("OK", "")}


async def test_a_reader_that_does_not_read_loses_its_stream_and_stops_the_model() -> None:
    stopped = asyncio.Event()

    async def endless(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        try:
            yield [STARTED]
            while True:
                yield [TextDelta("x" * 60_000)]
        finally:
            stopped.set()

    async with serve(endless, limits=Limits(stalled_reader_s=0.3)) as client:
        call = client.chat.StreamChat(HI)
        assert (await read(call)).HasField("started")
        await within(stopped.wait())
        with pytest.raises(grpc.aio.AioRpcError) as caught:  # noqa: PT012  what was sent before comes first
            while True:
                await read(call)
    error = told(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_CONSUMER")
    assert error.facts == {"limitSeconds": "0.3", "partial": "true"}
    assert error.trailers["grpc-retry-pushback-ms"] == "-1"


async def test_a_model_that_takes_its_time_is_not_taken_for_a_slow_reader() -> None:
    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [STARTED]
        await asyncio.sleep(0.3)  # many times the limit; the reader waits for us
        yield [finished("")]

    async with serve(chat, limits=Limits(stalled_reader_s=0.05)) as client:
        events = [event.WhichOneof("event") async for event in client.chat.StreamChat(HI)]
    assert events == ["started", "finished"]


async def test_the_first_to_end_a_call_wins() -> None:
    silent = Silent()
    async with serve(silent.chat) as client:
        call = client.chat.StreamChat(HI)
        read = asyncio.ensure_future(call.read())
        await within(silent.asked.wait())
        (live,) = client.server.places._live
        live.end(Failure(Reason.SLOW_CONSUMER, "first"))
        live.end(Failure(Reason.SERVER_DRAINING, "second"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await within(read)
    assert told(caught.value).message == "first"
    assert silent.stopped.is_set()
