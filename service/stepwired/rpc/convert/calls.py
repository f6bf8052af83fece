"""Calls of functions that callers and workers serve, and what workers register, on the wire."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf import duration_pb2, struct_pb2

from stepwire.v1 import step_run_pb2
from stepwired import versions
from stepwired.errors import Failure, InvalidRequest, Reason, StepFailed, Violation
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.rpc import aside, status
from stepwired.rpc.calls import MAX_MESSAGE_BYTES
from stepwired.rpc.calls import too_large as too_large_message
from stepwired.rpc.convert.schemas import schema
from stepwired.rpc.convert.values import read_json, value_of_json
from stepwired.steps.line import Asked, Dropped, Line
from stepwired.steps.values import too_large
from stepwired.steps.worker import Registration, WorkerStep
from stepwired.violations import Faults

_ERROR_TYPE_BYTES = 128
_NAME_BYTES = 128
_DESCRIPTION_BYTES = 1024
_MAX_DELAY_S = 3600.0

#: What a call or an event takes in a message of calls that go both ways beside its own bytes, at most.
WRAPPING_BYTES = 16

_Values = list[tuple[Json, int]]


def call_proto(asked: Asked) -> step_run_pb2.Call:
    """Write what the other side is called with."""
    left_s = asked.time_left_s
    return step_run_pb2.Call(
        call_id=asked.call_id,
        function=asked.function,
        input=value_of_json(asked.value),
        attempt=asked.facts.attempt,
        time_left=None if left_s is None else status.duration(left_s),
        run_id=asked.facts.run_id,
        step_path=asked.facts.step_path,
    )


async def sendable(line: Line, asked: Asked) -> step_run_pb2.Call | None:
    """Write what the other side is called with; None if no client could read it, and the call has failed."""
    call = await aside.write(call_proto, asked, asked.value)
    if (size := call.ByteSize() + WRAPPING_BYTES) <= MAX_MESSAGE_BYTES:
        return call
    line.fail(asked.call_id, too_large_message(size), is_sent=False)
    return None


def cancel_proto(dropped: Dropped) -> step_run_pb2.CancelCall:
    """Write that a call is no longer needed."""
    return step_run_pb2.CancelCall(call_id=dropped.call_id)


async def take(line: Line, reply: step_run_pb2.CallReply, limits: Limits) -> None:
    """Give part of an answer to whoever waits for it; what nobody waits for is not even read.

    Raises:
        InvalidRequest: FIELD_REQUIRED, the reply says nothing.
    """
    kind = reply.WhichOneof("kind")
    if kind is None:
        raise out_of_turn("reply", "says nothing: set `output`, `done` or `error`")
    if not line.is_open(reply.call_id):
        return
    if kind == "error":
        line.finish(reply.call_id, _failure(reply.error))
        return
    given = [reply.output] if kind == "output" else reply.done.outputs
    try:
        values = await aside.read(_values, reply, given, limits) if given else []
    except Failure as failure:
        line.fail(reply.call_id, failure)
        return
    for value, size in values:
        line.output(reply.call_id, value, size)
    if kind == "done":
        line.finish(reply.call_id)


def _values(_: step_run_pb2.CallReply, given: Sequence[struct_pb2.Value], limits: Limits) -> _Values:
    """Read outputs, each with its size.

    Raises:
        Failure: One of them cannot be carried on.
    """
    faults = Faults()
    read: _Values = []
    for value in given:
        if (size := value.ByteSize()) > limits.step_value_bytes:
            raise too_large(limits, "the function")
        read.append((read_json("outputs", value, size, limits, faults, Reason.STEP_OUTPUT_INVALID), size))
        if faults.found:
            raise StepFailed(Reason.STEP_OUTPUT_INVALID, f"the function made too much: {faults.found[0].description}")
    return read


def _failure(error: step_run_pb2.CallError) -> Failure:
    """Read how a function failed. Nothing in it is refused: it has to get to whoever waits."""
    message = status.cut_message(error.message) or "the function failed"
    if error.reason == Reason.STEP_INPUT_INVALID:
        return InvalidRequest(Reason.STEP_INPUT_INVALID, message)
    kind = status.cut(error.error_type.replace("\0", ""), _ERROR_TYPE_BYTES) or "Error"
    return StepFailed(
        Reason.STEP_EXECUTION_FAILED,
        message,
        metadata={"errorType": kind, "isTransient": str(error.is_transient).lower()},
        retry_after_s=_delay_s(error.retry_delay) if error.is_transient else None,
    )


def _delay_s(delay: duration_pb2.Duration) -> float:
    return min(max(0.0, delay.seconds + delay.nanos / 1e9), _MAX_DELAY_S)


def out_of_turn(field: str, description: str, reason: Reason = Reason.FIELD_INVALID) -> InvalidRequest:
    """How a call fails whose caller sends what is not its turn."""
    return InvalidRequest.of([Violation(field, description, reason)])


def registration(given: step_run_pb2.WorkerRegistration, limits: Limits) -> Registration:
    """Read what a worker serves.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    if given.max_in_flight:
        faults.within("register.max_in_flight", given.max_in_flight, 1, limits.worker_calls)
    faults.text("register.worker_name", given.worker_name, _NAME_BYTES)
    steps: tuple[WorkerStep, ...] = ()
    if faults.count("register.steps", len(given.steps), limits.worker_steps, least=1):
        steps = tuple(_step(f"register.steps[{index}]", step, limits, faults) for index, step in enumerate(given.steps))
        places: dict[str, int] = {}
        for index, step in enumerate(steps):
            if (first := places.setdefault(step.name, index)) != index:  # a call tells the worker the name alone
                why = f"has the name of register.steps[{first}]: one worker serves one version of a step"
                faults.add(f"register.steps[{index}]", why)
    faults.stop()
    return Registration(steps, given.max_in_flight or 1, given.worker_name)


def _step(path: str, given: step_run_pb2.WorkerStep, limits: Limits, faults: Faults) -> WorkerStep:
    faults.id(f"{path}.name", given.name, required=True)
    version = given.version or versions.FIRST
    if wrong := versions.fault(version):
        faults.add(f"{path}.version", wrong)
    faults.text(f"{path}.description", given.description, _DESCRIPTION_BYTES)
    return WorkerStep(
        given.name,
        version,
        given.description,
        schema(path, given, "input_schema", limits, faults),
        schema(path, given, "output_schema", limits, faults),
    )
