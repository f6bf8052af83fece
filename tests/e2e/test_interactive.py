from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import json_format, struct_pb2

from stepwire.v1 import step_run_pb2, step_run_pb2_grpc
from stepwire.v1.step_run_pb2 import CallDone, CallError, CallReply, RunInteractiveRequest
from stepwired.store.codec.values import json_of_value
from tests.conftest import ROOT
from tests.program import HANG_S, Program

METHOD = "stepwire.v1.StepRunService/RunInteractive"


class Caller:
    """Whoever runs a pipeline and serves its functions."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.results: list[Any] = []
        """Values and reasons of failures, in the order they came."""
        self.cancelled: list[str] = []

    async def asked(self) -> step_run_pb2.Call | None:
        """The next call; None when the run is over."""
        while (message := await asyncio.wait_for(self.call.read(), HANG_S)) is not grpc.aio.EOF:
            match message.WhichOneof("kind"):
                case "call":
                    return message.call  # type: ignore[no-any-return]
                case "cancel_call":
                    self.cancelled.append(message.cancel_call.call_id)
                case _ if message.event.HasField("value"):
                    self.results.append(json_of_value(message.event.value))
                case _ if message.event.HasField("failure"):
                    self.results.append(message.event.failure.reason)
        return None

    async def reply(self, call_id: str, **kind: Any) -> None:
        await self.call.write(RunInteractiveRequest(reply=CallReply(call_id=call_id, **kind)))

    async def done(self, call_id: str, *numbers: float) -> None:
        outputs = [struct_pb2.Value(number_value=number) for number in numbers]
        await self.reply(call_id, done=CallDone(outputs=outputs))


@asynccontextmanager
async def calling(server: Program, **start: Any) -> AsyncGenerator[Caller]:
    async with server.channel() as channel:
        call: Any = step_run_pb2_grpc.StepRunServiceStub(channel).RunInteractive()
        request = json_format.ParseDict(start, step_run_pb2.RunStepRequest())
        await call.write(RunInteractiveRequest(start=request))
        yield Caller(call)


async def test_functions_of_the_caller_run_side_by_side_and_results_keep_their_order(server_alone: Program) -> None:
    steps = [{"map": {"step": {"client": "double", "max_concurrency": 8}}}, {"client": "twice"}]
    async with calling(server_alone, steps=steps, input=list(range(100))) as caller:
        waiting: list[step_run_pb2.Call] = []
        while (call := await caller.asked()) is not None:
            number = json_of_value(call.input)
            assert isinstance(number, int)
            if call.function == "twice":
                await caller.done(call.call_id, number, number)
                continue
            waiting.append(call)
            if len(waiting) == 4:  # the last one asked is answered first
                for each in reversed(waiting):
                    await caller.done(each.call_id, 2 * each.input.number_value)
                waiting.clear()
    assert caller.results == [2 * number for number in range(100) for _ in range(2)]


async def test_a_function_that_fails_for_a_while_is_called_again_with_the_number_of_the_attempt(
    server_alone: Program,
) -> None:
    retry = {"step": {"client": "flaky"}, "max_attempts": 3, "initial_delay": "0s"}
    async with calling(server_alone, steps=[{"retry": retry}], input=1) as caller:
        attempts = []
        while (call := await caller.asked()) is not None:
            attempts.append((call.attempt, call.step_path))
            if call.attempt < 3:
                await caller.reply(call.call_id, error=CallError(message="not yet", is_transient=True))
            else:
                await caller.done(call.call_id, 3)
    assert attempts == [(attempt, "steps[0].retry.step") for attempt in (1, 2, 3)]
    assert caller.results == [3]


async def test_a_function_that_takes_too_long_is_told_to_stop_and_how_long_it_had(server_alone: Program) -> None:
    limited = {"timeout": {"step": {"client": "slow"}, "limit": "1s"}}
    async with calling(server_alone, steps=[limited], input=1) as caller:
        call = await caller.asked()
        assert call is not None
        assert 0 < call.time_left.ToTimedelta().total_seconds() <= 1
        assert await caller.asked() is None
    assert caller.results == ["STEP_TIMEOUT"]
    assert caller.cancelled == [call.call_id]


async def test_the_first_failure_cancels_all_other_calls_where_the_caller_says_so(server_alone: Program) -> None:
    steps = [{"spread": {}}, {"client": "f", "max_concurrency": 64}]
    mode = "ERROR_MODE_FAIL_FAST"
    async with calling(server_alone, steps=steps, input=list(range(64)), error_mode=mode) as caller:
        calls = [await caller.asked() for _ in range(64)]
        ids = [call.call_id for call in calls if call is not None]
        await caller.reply(ids[0], error=CallError(message="no", error_type="Refused"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await caller.asked()
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    assert sorted(caller.cancelled, key=int) == ids[1:]


async def test_a_function_that_is_served_by_nobody_is_a_fault_of_the_spec(server_alone: Program) -> None:
    request = json_format.ParseDict({"steps": [{"client": "f"}]}, step_run_pb2.RunStepRequest())
    async with server_alone.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await step_run_pb2_grpc.StepRunServiceStub(channel).RunStep(request).read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_person_serves_a_function_by_typing(grpcurl: str, server_alone: Program) -> None:
    """What docs/workers.md shows, with the wait for the question in place of its pause."""
    text = (ROOT / "docs" / "workers.md").read_text(encoding="utf-8")
    start, reply = re.findall(r"echo '(.+)'", text)[:2]
    process = await asyncio.create_subprocess_exec(
        grpcurl,
        "-plaintext",
        "-d",
        "@",
        server_alone.address,
        METHOD,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(start.encode() + b"\n")
    seen = b""
    while b'"call"' not in seen:
        chunk = await asyncio.wait_for(process.stdout.read(4096), HANG_S)
        assert chunk, seen
        seen += chunk
    process.stdin.write(reply.encode() + b"\n")
    process.stdin.write_eof()
    rest = await asyncio.wait_for(process.stdout.read(), HANG_S)
    assert await asyncio.wait_for(process.wait(), HANG_S) == 0
    assert b'"value": "HELLO!"' in rest
    assert b'"finished"' in rest
