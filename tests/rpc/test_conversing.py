"""What ends a call that goes both ways, whatever it is about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import grpc
import grpc.aio
import pytest

from stepwired.errors import Failure, Reason, Unavailable
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.rpc.listening import Listening
from stepwired.steps.remote import Served
from tests.rpc.serving import read, told, until, within
from tests.rpc.talking import FACTS, Script, V, begun, ended, talking

CALL = "/stepwire.v1.StepRunService/RunInteractive"


def failing(error: BaseException) -> Script:
    async def script(_: Served) -> AsyncGenerator[Json, None]:
        yield "before"
        raise error

    return script


async def waits(_: Served) -> AsyncGenerator[Json, None]:
    yield "before"
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (RuntimeError("secret sk-abc123"), grpc.StatusCode.INTERNAL, "INTERNAL"),
        (asyncio.CancelledError(), grpc.StatusCode.ABORTED, "INTERNAL_CANCELLED"),
        (Unavailable(Reason.PROVIDER_OVERLOADED, "busy"), grpc.StatusCode.UNAVAILABLE, "PROVIDER_OVERLOADED"),
    ],
)
async def test_whatever_ends_the_work_is_told(error: BaseException, code: grpc.StatusCode, reason: str) -> None:
    async with talking(failing(error)) as server:
        caller = await server.caller()
        assert (await caller.receive()).HasField("event")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await caller.receive()
        await until(lambda: not server.calls.places._tasks)
    assert (told(caught.value).code, told(caught.value).reason) == (code, reason)
    assert told(caught.value).facts["partial"] == "true"
    assert "sk-abc123" not in repr(caught.value)


async def test_a_reader_that_does_not_read_is_given_up() -> None:
    async def script(_: Served) -> AsyncGenerator[Json, None]:
        while True:
            yield "x" * 100_000

    async with talking(script, Limits(stalled_reader_s=0.2)) as server:
        caller = await server.caller()
        await until(lambda: server.ended)
        await until(lambda: not server.calls.places._live)
        assert server.metrics.calls == [(CALL, "RESOURCE_EXHAUSTED", "SLOW_CONSUMER")]
        with suppress(grpc.aio.AioRpcError):  # what was on its way can still be read
            await caller.rest()


async def test_the_deadline_ends_the_work() -> None:
    async with talking(waits) as server:
        messages: list[Any] = []

        async def read_all(call: Any) -> None:
            while True:
                messages.append(await read(call))

        for timeout_s in (0.3, 3.0, 30.0):  # until it is enough to begin with, here and now
            call = await begun(server.stub, "RunInteractive", [], None, timeout_s)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await read_all(call)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            if messages:
                break
        assert len(messages) == 1
        await until(lambda: server.ended and not server.calls.places._tasks)


async def test_a_caller_that_disconnects_ends_the_work() -> None:
    async with talking(waits) as server:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            call: Any = channel.stream_stream(CALL)()
            await call.write(V.RunInteractiveRequest(start=V.RunStepRequest()).SerializeToString())
            await read(call)
        await until(lambda: server.ended and not server.calls.places._tasks)
    assert [code for _, code, _ in server.metrics.calls] == ["CANCELLED"]


async def test_a_run_whose_call_is_cancelled_begins_no_further_call() -> None:
    begun: list[int] = []

    async def script(served: Served) -> AsyncGenerator[Any, None]:
        for index in range(1000):
            begun.append(index)
            try:
                async with aclosing(served.call("f", index, FACTS)) as outputs:
                    async for output in outputs:
                        yield output
            except Failure as failure:
                yield failure

    async with talking(script) as server:
        for _ in range(20):
            begun.clear()
            caller = await server.caller()
            await caller.asked()
            caller.call.cancel()
            await until(lambda: not server.calls.places._live and not server.calls.places._tasks)
            assert begun == [0]
    assert {code for _, code, _ in server.metrics.calls} == {"CANCELLED"}


async def test_a_call_beyond_those_that_are_served_at_once_is_refused_unread() -> None:
    async with talking(waits, Limits(max_calls=1)) as server:
        caller = await server.caller()
        await caller.receive()
        call: Any = server.stub.RunInteractive()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(call)
        await ended(caller.call)
    assert told(caught.value).reason == "CONCURRENCY_LIMITED"


async def numbers(count: int, read_counts: list[int]) -> AsyncGenerator[int, None]:
    for number in range(count):
        read_counts.append(number)
        yield number


async def test_messages_are_read_one_ahead_and_a_wait_for_one_may_be_cancelled() -> None:
    seen: list[int] = []
    heard = Listening(numbers(3, seen))
    waiting = asyncio.ensure_future(anext(heard))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert heard.awaited is not None
    listening = asyncio.create_task(heard.listen())
    await until(lambda: seen)
    for _ in range(10):
        await asyncio.sleep(0)
    assert seen == [0]
    assert heard.awaited is None
    assert [number async for number in heard] == [0, 1, 2]
    with pytest.raises(StopAsyncIteration):
        await anext(heard)
    await within(listening)


async def test_the_end_of_a_stream_is_not_told_while_the_call_may_have_been_cancelled() -> None:
    heard = Listening(numbers(1, []), doubt_s=3600)
    listening = asyncio.create_task(heard.listen())
    assert await within(anext(heard)) == 0
    waiting = asyncio.ensure_future(anext(heard))
    for _ in range(2000):  # more turns than there ever were between the end of a stream and its cancel
        await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    heard.leave()
    await within(listening)


async def test_nothing_is_read_any_more_when_nobody_listens() -> None:
    seen: list[int] = []
    heard = Listening(numbers(3, seen))
    listening = asyncio.create_task(heard.listen())
    await until(lambda: seen)
    heard.leave()
    await within(listening)
    assert seen == [0]


async def test_what_breaks_the_stream_is_raised_behind_what_came() -> None:
    async def broken() -> AsyncGenerator[int, None]:
        yield 1
        raise ValueError("broken")

    heard = Listening(broken())
    listening = asyncio.create_task(heard.listen())
    assert await within(anext(heard)) == 1
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            await within(anext(heard))
    await within(listening)
