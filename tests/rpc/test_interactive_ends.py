"""What ends a run that calls functions of its caller, or a call of one, and that nothing of them is left."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio
import pytest

from stepwired.errors import Reason, StepFailed
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps.remote import Served
from stepwired.store.codec.values import json_of_value
from tests.rpc.calling import at_once, calling, catching, failures
from tests.rpc.serving import read, told, until, within
from tests.rpc.talking import V, ended, talking

OUT_OF_TURN = {
    "another start": V.RunInteractiveRequest(start=V.RunStepRequest()),
    "nothing": V.RunInteractiveRequest(),
    "an empty reply": V.RunInteractiveRequest(reply=V.CallReply(call_id="1")),
}


@pytest.mark.parametrize("message", OUT_OF_TURN.values(), ids=OUT_OF_TURN)
async def test_a_message_out_of_turn_ends_the_run(message: V.RunInteractiveRequest) -> None:
    async with talking(calling(1)) as server:
        caller = await server.caller()
        await caller.asked()
        await within(caller.call.write(message))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await caller.rest()
        assert len(server.ended) == 1
    assert (told(caught.value).code, told(caught.value).reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "FIELD_INVALID",
    )


@pytest.mark.parametrize("message", [V.RunInteractiveRequest(), V.RunInteractiveRequest(reply=V.CallReply()), None])
async def test_the_first_message_has_to_say_what_to_run(message: V.RunInteractiveRequest | None) -> None:
    async with talking() as server:
        call: Any = server.stub.RunInteractive()
        await (call.write(message) if message is not None else call.done_writing())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(call)
    assert told(caught.value).fields == [("start", "FIELD_REQUIRED")]


async def test_a_message_that_is_none_ends_the_run() -> None:
    async with talking(calling(1)) as server:
        call: Any = server.channel.stream_stream("/stepwire.v1.StepRunService/RunInteractive")()
        await call.write(V.RunInteractiveRequest(start=V.RunStepRequest()).SerializeToString())
        await read(call)
        await call.write(b"\xff\xff")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(call)
        assert len(server.ended) == 1
    assert told(caught.value).reason == "MALFORMED_REQUEST"


async def test_closing_the_callers_half_fails_the_calls_that_are_open_and_those_to_come() -> None:
    async with talking(catching(1, 2)) as server:
        caller = await server.caller()
        call = await caller.asked()
        await caller.output(call.call_id, "before")
        await caller.call.done_writing()
        messages = await caller.rest()
    assert json_of_value(messages[0].event.value) == "before"
    assert [failure.reason for failure in failures(messages)] == ["WORKER_LOST"] * 2
    assert messages[-1].event.HasField("finished")


async def test_a_run_that_calls_nothing_needs_no_open_half() -> None:
    async def script(_: Served) -> AsyncGenerator[Json, None]:
        yield 1

    async with talking(script) as server:
        caller = await server.caller()
        await caller.call.done_writing()
        assert await caller.values() == [1]


async def test_a_caller_that_says_nothing_at_first_is_not_waited_for_but_later_as_long_as_it_takes() -> None:
    async with talking(calling(1), Limits(stalled_sender_s=1.5)) as server:
        caller = await server.caller()
        asked = await caller.asked()
        for _ in range(2):  # which takes longer than the limit, and all the while the caller is silent
            call: Any = server.stub.RunInteractive()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await read(call)
            assert told(caught.value).reason == "SLOW_PRODUCER"
        await caller.done(asked.call_id, "at last")
        assert await caller.values() == ["at last"]


async def test_a_run_that_fails_cancels_its_open_calls_before_it_says_so() -> None:
    async def script(served: Served) -> AsyncGenerator[Json, None]:
        async with aclosing(at_once(64)(served)) as values:
            async for value in values:
                yield value
                raise StepFailed(Reason.STEP_EXECUTION_FAILED, "enough")

    async with talking(script) as server:
        caller = await server.caller()
        calls = [await caller.asked() for _ in range(64)]
        await caller.output(calls[0].call_id, "first")
        assert (await caller.receive()).HasField("event")
        cancelled = await caller.dropped(64)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await caller.receive()
    assert cancelled == {call.call_id for call in calls}
    assert told(caught.value).reason == "STEP_EXECUTION_FAILED"


async def test_a_run_that_has_what_it_takes_cancels_the_calls_that_it_needs_no_more() -> None:
    async def script(served: Served) -> AsyncGenerator[Json, None]:
        async with aclosing(at_once(8)(served)) as values:
            async for value in values:
                yield value
                break

    async with talking(script) as server:
        caller = await server.caller()
        calls = [await caller.asked() for _ in range(8)]
        await caller.done(calls[0].call_id, "first")
        messages = await caller.rest()
    cancelled = [message.cancel_call.call_id for message in messages if message.HasField("cancel_call")]
    assert sorted(cancelled, key=int) == [call.call_id for call in calls[1:]]
    assert messages[-1].event.HasField("finished")


async def test_cancelling_the_call_while_sixty_four_calls_are_open_leaves_nothing() -> None:
    async with talking(at_once(64)) as server:
        caller = await server.caller()
        for _ in range(64):
            await caller.asked()
        caller.call.cancel()
        await until(lambda: server.ended)
        await until(lambda: not server.calls.places._tasks)
        assert not server.calls.places._taken
    assert server.metrics.calls[0][1] == "CANCELLED"


async def test_a_storm_of_cancelled_runs_leaves_nothing() -> None:
    async with talking(at_once(8)) as server:
        for turn in range(20):
            callers = [await server.caller() for _ in range(10)]
            for index, caller in enumerate(callers):
                for _ in range((index + turn) % 9):
                    await caller.asked()
                if index % 3 == 0:
                    await caller.output("1", "late")
                await ended(caller.call)
        await until(lambda: not server.calls.places._live and not server.calls.places._tasks)
        caller = await server.caller()
        for _ in range(8):
            await caller.done((await caller.asked()).call_id, 1)
        assert await caller.values() == [1] * 8
