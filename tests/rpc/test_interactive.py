"""Runs that call functions of their caller: each call is answered, in any order, and a failure stays its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator

import grpc
import grpc.aio
import pytest
from google.protobuf import duration_pb2, struct_pb2

from stepwired.errors import Reason, StepFailed
from stepwired.events import Json
from stepwired.steps.remote import Served
from stepwired.store.codec.values import json_of_value
from tests.rpc.calling import at_once, calling, catching, failures
from tests.rpc.serving import told, within
from tests.rpc.talking import V, ended, number, talking


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
