"""What comes out of a run, on the wire."""

from __future__ import annotations

import base64
import sys
from array import array

from msgspec import UnsetType

from stepwire.v1 import step_run_pb2
from stepwired.errors import Failure
from stepwired.events import Json, Message
from stepwired.rpc import status, vectors
from stepwired.rpc.convert.messages import message_json, usage_proto
from stepwired.rpc.convert.values import failure_message, struct_of_json, value_of_json
from stepwired.steps.results import (
    Item,
    Metadata,
    Outcome,
    RunEvent,
    RunFinished,
    RunStarted,
    StageEvent,
    StageEventKind,
    Value,
    Vector,
)
from stepwired.steps.sources import StepInfo
from stepwired.store.codec.messages import message_proto
from stepwired.store.codec.values import timestamp

_MAX_INT32 = 2**31 - 1

_STAGE_KIND = {
    StageEventKind.STARTED: step_run_pb2.STAGE_EVENT_KIND_STARTED,
    StageEventKind.RESULT: step_run_pb2.STAGE_EVENT_KIND_RESULT,
    StageEventKind.ERROR: step_run_pb2.STAGE_EVENT_KIND_ERROR,
    StageEventKind.COMPLETED: step_run_pb2.STAGE_EVENT_KIND_COMPLETED,
    StageEventKind.TEXT_DELTA: step_run_pb2.STAGE_EVENT_KIND_TEXT_DELTA,
    StageEventKind.CANCELLED: step_run_pb2.STAGE_EVENT_KIND_CANCELLED,
    StageEventKind.RETRYING: step_run_pb2.STAGE_EVENT_KIND_RETRYING,
    StageEventKind.RESTARTED: step_run_pb2.STAGE_EVENT_KIND_RESTARTED,
}
_OUTCOME = {
    Outcome.NOT_STARTED: step_run_pb2.STEP_OUTCOME_UNSPECIFIED,
    Outcome.COMPLETED: step_run_pb2.STEP_OUTCOME_COMPLETED,
    Outcome.FAILED: step_run_pb2.STEP_OUTCOME_FAILED,
    Outcome.CANCELLED: step_run_pb2.STEP_OUTCOME_CANCELLED,
}


def run_response(seq: int, event: RunEvent) -> step_run_pb2.RunStepResponse:
    """Write one event of a run."""
    match event:
        case Item():
            written = step_run_pb2.RunStepResponse(seq=seq, path=event.path)
            _put(written, event.result)
            return written
        case StageEvent():
            return step_run_pb2.RunStepResponse(seq=seq, path=event.path, stage=_stage(event))
        case RunStarted():
            return step_run_pb2.RunStepResponse(seq=seq, started=step_run_pb2.RunStarted(run_id=event.run_id))
        case RunFinished():
            return step_run_pb2.RunStepResponse(seq=seq, finished=_finished(event))


def step_result(item: Item) -> step_run_pb2.StepResult:
    """Write one result of a run that is collected."""
    written = step_run_pb2.StepResult(path=item.path)
    _put(written, item.result)
    return written


def metadata_proto(metadata: Metadata) -> step_run_pb2.StepMetadata:
    """Write how a step went, and the steps within it."""
    return step_run_pb2.StepMetadata(
        step_path=metadata.step_path,
        type=metadata.type,
        name=metadata.name,
        start_time=timestamp(metadata.start_time_ns),
        duration=status.duration(metadata.duration_s),
        inputs=metadata.inputs,
        outputs=metadata.outputs,
        errors=metadata.errors,
        usage=usage_proto(metadata.usage) if metadata.usage is not None else None,
        labels=metadata.labels,
        outcome=_OUTCOME[metadata.outcome],
        model=metadata.model,
        provider=metadata.provider,
        version=metadata.version,
        attempts=metadata.attempts,
        cache_hits=metadata.cache_hits,
        steps=[metadata_proto(step) for step in metadata.steps],
    )


def step_info(info: StepInfo) -> step_run_pb2.StepInfo:
    """Write a step that can be named."""
    return step_run_pb2.StepInfo(
        name=info.name,
        version=info.version,
        description=info.description,
        provider=info.provider,
        input_schema=None if info.input_schema is None else struct_of_json(info.input_schema),
        output_schema=None if info.output_schema is None else struct_of_json(info.output_schema),
        is_tool=info.is_tool,
        worker_count=info.worker_count,
    )


def as_json(value: Value) -> Json:
    """Show a value as functions see it: a message as its proto JSON, a vector as numbers, bytes as base64."""
    match value:
        case Message():
            return message_json(value)
        case Vector():
            return list(_floats(value.row))
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return value


def _put(into: step_run_pb2.RunStepResponse | step_run_pb2.StepResult, result: Value | Failure) -> None:
    match result:
        case Failure():
            into.failure.CopyFrom(failure_message(result))
        case Vector():
            vectors.write(into.embedding, result.row, result.model, result.index)
        case Message():
            into.message.CopyFrom(message_proto(result))
        case bytes():
            into.data = result
        case _:
            into.value.CopyFrom(value_of_json(result))


def _stage(event: StageEvent) -> step_run_pb2.StageEvent:
    written = step_run_pb2.StageEvent(
        step_path=event.step_path,
        kind=_STAGE_KIND[event.kind],
        name=event.name,
        text_delta=event.text_delta,
        failure=failure_message(event.failure) if event.failure is not None else None,
        dropped_before=min(event.dropped_before, _MAX_INT32),
        attempt=event.attempt,
        delay=None if event.delay_s is None else status.duration(event.delay_s),
    )
    if not isinstance(event.value, UnsetType):
        written.value.CopyFrom(value_of_json(as_json(event.value)))
    return written


def _finished(event: RunFinished) -> step_run_pb2.RunFinished:
    return step_run_pb2.RunFinished(
        results=event.results,
        errors=event.errors,
        metadata=metadata_proto(event.metadata),
        aborted=event.aborted,
        inputs_not_started=event.inputs_not_started,
    )


def _floats(row: bytes) -> array[float]:
    numbers = array("f", row)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
