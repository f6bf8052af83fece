from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import duration_pb2, struct_pb2

from stepwired.errors import Failure, Reason, StepFailed
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps.ahead import Ahead
from stepwired.steps.remote import Served
from stepwired.store.codec.values import json_of_value
from tests.rpc.serving import read, told, until, within
from tests.rpc.talking import FACTS, Script, V, ended, number, saying, talking


def calling(*inputs: Json, function: str = "f") -> Script:
    """A run that calls a function with one input after the other, and gives what comes."""

    async def script(served: Served) -> AsyncGenerator[Json, None]:
        for value in inputs:
            async with aclosing(served.call(function, value, FACTS)) as outputs:
                async for output in outputs:
                    yield output

    return script


def at_once(count: int) -> Script:
    """A run that calls a function with many numbers at once, and gives what comes in their order."""

    async def script(served: Served) -> AsyncGenerator[Json, None]:
        streams = [Ahead[Json](served.call("f", index, FACTS), 1) for index in range(count)]
        try:
            for stream in streams:
                async for output in stream:
                    yield output
        finally:
            await asyncio.gather(*(stream.aclose() for stream in streams))

    return script


def catching(*inputs: Json) -> Script:
    """As `calling`, with a failure of a call in its place."""

    async def script(served: Served) -> AsyncGenerator[Any, None]:
        for value in inputs:
            try:
                async with aclosing(calling(value)(served)) as outputs:
                    async for output in outputs:
                        yield output
            except Failure as failure:
                yield failure

    return script


def failures(messages: list[Any]) -> list[Any]:
    return [message.event.failure for message in messages if message.event.HasField("failure")]


async def test_a_run_calls_functions_of_its_caller_and_gives_what_they_make() -> None:
    async with talking(calling("a", {"b": [1]})) as server:
        caller = await server.caller(run_id="r")
        first = await caller.asked()
        assert (first.function, json_of_value(first.input), first.attempt) == ("f", "a", 1)
        assert (first.run_id, first.step_path, first.HasField("time_left")) == ("run-1", "steps[0]", False)
        assert dict(await caller.call.initial_metadata())["x-run-id"] == "r"
        await caller.output(first.call_id, 1)
        await caller.output(first.call_id, None)
        await caller.done(first.call_id, [2], {})
        second = await caller.asked()
        assert json_of_value(second.input) == {"b": [1]}
        await caller.done(second.call_id)
        messages = await caller.rest()
        assert messages[-1].event.HasField("finished")
        assert await within(caller.call.code()) is grpc.StatusCode.OK
    assert server.metrics.calls == [("/stepwire.v1.StepRunService/RunInteractive", "OK", "")]


async def test_outputs_are_results_as_they_come_each_in_its_order() -> None:
    async with talking(calling(0)) as server:
        caller = await server.caller()
        call = await caller.asked()
        for value in range(3):
            await caller.output(call.call_id, value)
            assert json_of_value((await caller.receive()).event.value) == value
        await caller.done(call.call_id, 3, 4)
        assert await caller.values() == [3, 4]


async def test_calls_are_answered_in_any_order() -> None:
    async with talking(at_once(64)) as server:
        caller = await server.caller()
        calls = [await caller.asked() for _ in range(64)]
        random.Random(1).shuffle(calls)
        for call in calls:
            await caller.done(call.call_id, json_of_value(call.input))
        assert await caller.values() == list(range(64))


async def test_nothing_is_sent_before_the_first_event_or_call() -> None:
    go = asyncio.Event()

    async def script(_: Served) -> AsyncGenerator[Json, None]:
        await go.wait()
        raise StepFailed(Reason.STEP_EXECUTION_FAILED, "no")
        yield

    async with talking(script) as server:
        caller = await server.caller()
        headers = asyncio.ensure_future(caller.call.initial_metadata())
        other = await server.worker("f")
        assert not headers.done()
        go.set()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await caller.receive()
        assert dict(await within(headers)) == {}
        await ended(other.call)
    assert told(caught.value).reason == "STEP_EXECUTION_FAILED"


@pytest.mark.parametrize(
    ("error", "reason", "facts", "retry_s"),
    [
        (
            V.CallError(message="no such row", error_type="KeyError"),
            "STEP_EXECUTION_FAILED",
            {"errorType": "KeyError", "isTransient": "false"},
            None,
        ),
        (
            V.CallError(is_transient=True, retry_delay=duration_pb2.Duration(seconds=2, nanos=500_000_000)),
            "STEP_EXECUTION_FAILED",
            {"errorType": "Error", "isTransient": "true"},
            2.5,
        ),
        (
            V.CallError(is_transient=True, retry_delay=duration_pb2.Duration(seconds=-5)),
            "STEP_EXECUTION_FAILED",
            {"errorType": "Error", "isTransient": "true"},
            0.0,
        ),
        (V.CallError(message="a text, please", reason="STEP_INPUT_INVALID"), "STEP_INPUT_INVALID", {}, None),
        (
            V.CallError(message="x" * 5000, error_type="y" * 500, reason="STORE_CORRUPT"),
            "STEP_EXECUTION_FAILED",
            {"errorType": "y" * 125 + "…", "isTransient": "false"},
            None,
        ),
    ],
)
async def test_a_function_that_fails_says_how(
    error: V.CallError, reason: str, facts: dict[str, str], retry_s: float | None
) -> None:
    async with talking(catching(1)) as server:
        caller = await server.caller()
        await caller.reply((await caller.asked()).call_id, error=error)
        [failure] = failures(await caller.rest())
    assert (failure.reason, dict(failure.metadata)) == (reason, facts)
    assert failure.message == (error.message[:1021] + "…" if len(error.message) > 1024 else error.message) or (
        failure.message == "the function failed"
    )
    delay = failure.retry_delay.ToTimedelta().total_seconds() if failure.HasField("retry_delay") else None
    assert delay == retry_s


async def test_a_value_that_no_run_can_carry_fails_its_call_alone_and_the_caller_is_told_to_stop() -> None:
    item = struct_pb2.Value(list_value=struct_pb2.ListValue(values=[number(1)] * 60_000))
    async with talking(catching("large", "many", "whole")) as server:
        caller = await server.caller()
        await caller.output((await caller.asked()).call_id, "x" * (1 << 20))
        await caller.reply((await caller.asked()).call_id, done=V.CallDone(outputs=[item, item]))
        await caller.done((await caller.asked()).call_id, "well")
        assert await caller.values() == ["well"]
    messages = caller.seen[:-1]
    assert [failure.reason for failure in failures(messages)] == ["STEP_LIMIT_EXCEEDED", "STEP_OUTPUT_INVALID"]
    assert [each.cancel_call.call_id for each in messages if each.HasField("cancel_call")] == ["1", "2"]


async def test_an_input_that_no_client_could_read_fails_its_call_alone() -> None:
    async with talking(catching("x" * (4 << 20), "small")) as server:
        caller = await server.caller()
        assert (await caller.receive()).event.failure.reason == "RESPONSE_TOO_LARGE"
        small = await caller.asked()
        assert json_of_value(small.input) == "small"
        await caller.done(small.call_id, 1)
        assert await caller.values() == [1]


async def test_replies_to_calls_that_are_not_open_are_ignored() -> None:
    async with talking(calling(1, 2)) as server:
        caller = await server.caller()
        for call_id in ("", "1", "999", "…" * 1000):
            await caller.output(call_id, "early")
        first = await caller.asked()
        await caller.done(first.call_id, "one")
        for _ in range(3):
            await caller.done(first.call_id, "again")
            await caller.output(first.call_id, "again")
            await caller.reply(first.call_id, error=V.CallError(message="late"))
        second = await caller.asked()
        await caller.done(second.call_id, "two")
        assert "two" in await caller.values()


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
    async with talking(calling(1), Limits(stalled_sender_s=0.5)) as server:
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


async def test_a_caller_that_floods_one_call_is_slowed_down_and_memory_is_bounded() -> None:
    go = asyncio.Event()
    held: list[int] = []

    async def script(served: Served) -> AsyncGenerator[Json, None]:
        async with aclosing(served.call("f", 0, FACTS)) as outputs:
            yield await anext(outputs)
            await go.wait()
            async for output in outputs:
                held.append(served.held_bytes)  # type: ignore[attr-defined]
                yield output

    async with talking(script, Limits(call_outputs=4)) as server:
        caller = await server.caller()
        call = await caller.asked()

        accepted = 0

        async def flood() -> None:
            nonlocal accepted
            for index in range(500):
                await caller.output(call.call_id, [index, "x" * 10_000])
                accepted += 1
            await caller.done(call.call_id)

        flooding = asyncio.create_task(flood())
        assert (await caller.receive()).HasField("event")
        before = -1
        while accepted != before:  # until it stands still
            before = accepted
            await asyncio.sleep(0.2)
        assert accepted < 250, accepted  # of 5 MB, and HTTP/2 holds the others back
        go.set()
        values = await caller.values()
        await within(flooding)
    assert [value[0] for value in values if isinstance(value, list)] == list(range(1, 500))
    assert max(held) < 100_000


async def test_a_call_that_nobody_reads_does_not_keep_another_from_its_answer() -> None:
    async def script(served: Served) -> AsyncGenerator[Json, None]:
        async with (
            aclosing(served.call("flood", 0, FACTS)) as floods,
            aclosing(served.call("other", 0, FACTS)) as others,
        ):
            yield await anext(floods)
            yield await anext(others)

    async with talking(script, Limits(call_outputs=4)) as server:
        caller = await server.caller()
        flood = await caller.asked()
        for index in range(100):
            await caller.output(flood.call_id, index)
        other = await caller.asked()
        await caller.output(other.call_id, "here")
        values = await caller.values()
    assert values[-1] == "here"


async def test_messages_in_any_order_never_leave_a_run_or_a_call_behind() -> None:
    chance = random.Random(3)
    requests = [
        V.RunInteractiveRequest(start=V.RunStepRequest()),
        V.RunInteractiveRequest(),
        V.RunInteractiveRequest(reply=V.CallReply(call_id="1", output=number(1))),
        V.RunInteractiveRequest(reply=V.CallReply(call_id="1", done=V.CallDone(outputs=[number(2)]))),
        V.RunInteractiveRequest(reply=V.CallReply(call_id="2", error=V.CallError())),
        V.RunInteractiveRequest(reply=V.CallReply(call_id="2", output=struct_pb2.Value())),
        V.RunInteractiveRequest(reply=V.CallReply(call_id="9")),
    ]
    async with talking(catching(1, 2, 3)) as server:
        with saying(server) as say:
            for _ in range(150):
                first = requests[:1] if chance.random() < 0.9 else []
                rest = requests[2:-1] if chance.random() < 0.7 else requests
                await say("RunInteractive", first + chance.choices(rest, k=chance.randrange(8)))
        await until(lambda: not server.calls.places._live and not server.calls.places._tasks)
        assert not server.calls.places._taken
    assert {code for _, code, _ in server.metrics.calls} == {"OK", "INVALID_ARGUMENT"}
