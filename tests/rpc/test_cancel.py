from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from stepwire.v1 import chat_pb2
from stepwired.errors import Reason, Unavailable
from stepwired.events import Batch, Chat, ChatRequest
from stepwired.limits import Limits
from stepwired.rpc.calls import Calls
from tests.rpc.serving import Recorder, Silent, echo, read, serve, told, until, within

HI = chat_pb2.StreamChatRequest(prompt="hi")


STREAM_CHAT = "/stepwire.v1.ChatService/StreamChat"


def failing(make: Callable[[], BaseException], *, after: Batch = ()) -> Chat:
    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        if after:
            yield after
        raise make()

    return chat


async def test_cancelling_a_call_stops_a_model_that_has_not_answered() -> None:
    silent = Silent()
    async with serve(silent.chat) as client:
        call = client.chat.StreamChat(HI)
        await within(silent.asked.wait())
        call.cancel()
        await within(silent.stopped.wait())
    assert client.metrics.calls == [(STREAM_CHAT, "CANCELLED", "")]


async def test_cancelling_a_call_stops_a_model_in_the_middle_of_its_reply() -> None:
    silent = Silent(begins=True)
    async with serve(silent.chat) as client:
        call = client.chat.StreamChat(HI)
        assert (await read(call)).HasField("started")
        call.cancel()
        await within(silent.stopped.wait())


async def test_cancelling_a_unary_call_stops_the_model() -> None:
    silent = Silent()
    async with serve(silent.chat) as client:
        call = client.chat.Chat(chat_pb2.ChatRequest(prompt="hi"))
        await within(silent.asked.wait())
        call.cancel()
        await within(silent.stopped.wait())


async def test_a_client_that_disconnects_stops_the_model() -> None:
    silent = Silent(begins=True)
    async with serve(silent.chat) as client:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{client.port}") as channel:
            call: Any = channel.unary_stream(STREAM_CHAT, chat_pb2.StreamChatRequest.SerializeToString)(HI)
            await read(call)
        await within(silent.stopped.wait())


async def test_the_deadline_stops_the_model_and_is_counted_as_what_it_is() -> None:
    silent = Silent()
    async with serve(silent.chat) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await within(client.chat.StreamChat(HI, timeout=0.2).read())
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await within(silent.stopped.wait())
    assert client.metrics.calls == [(STREAM_CHAT, "DEADLINE_EXCEEDED", "")]


async def test_a_cancellation_from_within_does_not_leave_the_client_waiting() -> None:
    async with serve(failing(asyncio.CancelledError)) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await within(client.chat.StreamChat(HI).read())
        with pytest.raises(grpc.aio.AioRpcError) as unary:
            await within(client.chat.Chat(chat_pb2.ChatRequest(prompt="hi")))
    for error in (told(caught.value), told(unary.value)):
        assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "INTERNAL_CANCELLED")
        assert error.retry_after_s == pytest.approx(0.1)


async def test_after_five_thousand_cancels_every_call_is_answered_and_nothing_is_left() -> None:
    silent = Silent(begins=True)

    async def chat(request: ChatRequest) -> AsyncGenerator[Batch, None]:
        stream = silent.chat(request) if request.messages[-1].text == "hi" else echo(request)
        try:
            async for batch in stream:
                yield batch
        finally:
            await stream.aclose()

    async with serve(chat) as client:
        for _ in range(50):
            calls = [client.chat.StreamChat(HI) for _ in range(100)]
            for index, call in enumerate(calls):
                if index % 2:  # half of them before their first event, if they are quick
                    await read(call)
                call.cancel()
            await until(lambda: not silent.running)
        good = [client.chat.Chat(chat_pb2.ChatRequest(prompt="still here")) for _ in range(200)]
        assert {reply.text for reply in await asyncio.gather(*good)} == {"stillhere"}
        assert client.server.places._taken == 0
        assert not client.server.places._live
        await until(lambda: not client.server.places._tasks)


class Expired:
    """What gRPC hands to a handler, for a call whose deadline has passed: no client can be made to be this late."""

    def __init__(self) -> None:
        self.aborted: list[Any] = []

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def set_trailing_metadata(self, _: object) -> None:
        pass

    def time_remaining(self) -> float:
        return 0

    async def write(self, _: object) -> None:
        raise AssertionError

    async def abort(self, code: grpc.StatusCode, _message: str) -> None:
        self.aborted.append(code)
        raise grpc.aio.AbortError


@pytest.mark.parametrize("kind", ["unary", "streaming"])
async def test_a_call_whose_deadline_has_passed_does_no_work(kind: str) -> None:
    metrics = Recorder()
    calls = Calls(Limits(), metrics)

    async def handler(_request: object, _context: object) -> None:
        raise AssertionError("work was done")

    context: Any = Expired()
    with pytest.raises(grpc.aio.AbortError):
        await getattr(calls, kind)("/a/B", handler, counted=True)(HI, context)
    assert context.aborted == [grpc.StatusCode.DEADLINE_EXCEEDED]
    assert metrics.calls == [("/a/B", "DEADLINE_EXCEEDED", "")]
    assert calls.places._taken == 0


async def test_a_failure_while_cleaning_up_after_a_cancelled_call_is_not_answered() -> None:
    cleaned = asyncio.Event()
    asked = asyncio.Event()

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        try:
            asked.set()
            await asyncio.Event().wait()
            yield []
        finally:
            cleaned.set()
            raise Unavailable(Reason.PROVIDER_UNREACHABLE, "the connection broke")

    async with serve(chat) as client:
        call = client.chat.StreamChat(HI)
        await within(asked.wait())
        call.cancel()
        await within(cleaned.wait())
    assert client.metrics.calls == [(STREAM_CHAT, "CANCELLED", "")]
