from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from stepwire.v1 import chat_pb2
from stepwired.errors import Reason, Unavailable
from stepwired.events import Batch, ChatRequest, TextDelta
from tests.rpc.serving import (
    STARTED,
    finished,
    live_calls,
    read,
    serve,
    told,
    until,
    within,
)

HI = chat_pb2.StreamChatRequest(prompt="hi")


SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def test_draining_with_five_hundred_streams_leaves_no_one_in_the_dark() -> None:
    go = asyncio.Event()
    entered = cleaned = 0

    async def chat(request: ChatRequest) -> AsyncGenerator[Batch, None]:
        nonlocal entered, cleaned
        entered += 1
        try:
            yield [STARTED]
            await (go if request.messages[-1].text == "short" else asyncio.Event()).wait()
            yield [finished("")]
        finally:
            await asyncio.sleep(0.01)  # closing takes its time
            cleaned += 1

    async with serve(chat) as client:
        calls = [
            client.chat.StreamChat(chat_pb2.StreamChatRequest(prompt="short" if index % 2 else "long"))
            for index in range(500)
        ]
        await asyncio.gather(*(read(call) for call in calls))
        assert entered == 500
        draining = asyncio.create_task(client.server.drain(3600))
        go.set()
        short = await asyncio.gather(*(outcome(call) for call in calls[1::2]))
        await within(client.server.places.drain(0))  # the rest of the grace is over
        long = await asyncio.gather(*(outcome(call) for call in calls[::2]))
        await within(draining)
        assert cleaned == 500
    assert short == ["OK"] * 250
    assert long == ["UNAVAILABLE SERVER_DRAINING 1.0"] * 250


async def outcome(call: Any) -> str:
    try:
        while await read(call) is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as failure:
        error = told(failure)
        return f"{error.code.name} {error.reason} {error.retry_after_s}"
    return "OK"


async def test_a_draining_server_refuses_new_calls_and_says_so_to_health_checks() -> None:
    waiting = asyncio.Event()

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [STARTED]
        await waiting.wait()
        yield [finished("")]

    async with serve(chat) as client:
        health: Any = health_pb2_grpc.HealthStub(client.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await read(watch)).status == SERVING
        running = client.chat.StreamChat(HI)
        await read(running)
        draining = asyncio.create_task(client.server.drain(SOON_ENOUGH_S))
        assert (await read(watch)).status == NOT_SERVING
        assert (await within(health.Check(health_pb2.HealthCheckRequest()))).status == NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await within(client.chat.StreamChat(HI).read())
        error = told(caught.value)
        assert (error.code, error.reason, error.retry_after_s) == (
            grpc.StatusCode.UNAVAILABLE,
            "SERVER_DRAINING",
            1.0,
        )
        waiting.set()
        assert (await read(running)).HasField("finished")
        assert await running.code() is grpc.StatusCode.OK
        await within(draining)  # long before its grace: nothing runs any more
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(watch)
        assert told(caught.value).reason == "SERVER_DRAINING"


async def test_a_call_that_is_ended_while_it_writes_its_first_message_is_told_why() -> None:
    writing = asyncio.Event()

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        (live,) = live_calls(client.server)
        loop = asyncio.get_running_loop()

        def end() -> None:  # runs once the handler waits for its write, before gRPC's own thread can have told it
            if live.writing is None:
                loop.call_soon(end)
                return
            assert live.writing is not True
            live.end(Unavailable(Reason.SERVER_DRAINING, "no"))
            writing.set()

        loop.call_soon(end)
        yield [STARTED, TextDelta("a")]
        await asyncio.Event().wait()

    async with serve(chat) as client:
        call = client.chat.StreamChat(HI)
        await within(writing.wait())
        assert await outcome(call) == "UNAVAILABLE SERVER_DRAINING 1.0"


SOON_ENOUGH_S = 60.0


async def test_draining_does_not_wait_for_readers_that_never_read() -> None:
    cleaned = asyncio.Event()

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        try:
            while True:
                yield [TextDelta("x" * 60_000)]
        finally:
            cleaned.set()

    async with serve(chat) as client:
        call = client.chat.StreamChat(HI)
        await read(call)
        (live,) = live_calls(client.server)
        seen: list[object] = []

        def is_stuck() -> bool:
            seen.append(live.writing)
            return len(seen) > 5000 and all(item is seen[-1] for item in seen[-5000:])

        await until(is_stuck)
        await within(client.server.drain(0))
        assert cleaned.is_set()
