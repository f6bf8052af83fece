"""What embeddings, searches and runs come to, each with the wire's message as `proto`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from stepwire import _status, _values, _vectors, errors
from stepwire.v1 import embed_pb2, message_pb2, step_run_pb2

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "EmbeddingResult",
    "RunEvent",
    "RunFinished",
    "RunResults",
    "RunStarted",
    "SearchHit",
    "StageEvent",
    "StepResult",
]


StageKind: TypeAlias = Literal[
    "unknown", "started", "result", "error", "completed", "text_delta", "cancelled", "retrying", "restarted"
]


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingResult:
    """What came of one text: a vector, or the error in its place."""

    index: int
    """Position of the text in the request, from 0."""

    vector: npt.NDArray[np.float32] | None
    """Array of shape `(d,)`, float32."""

    error: errors.Error | None
    proto: embed_pb2.StreamEmbeddingsResponse = field(repr=False)

    @classmethod
    def of(cls, proto: embed_pb2.StreamEmbeddingsResponse, first_index: int = 0) -> EmbeddingResult:
        """Read the outcome of a text, counting from `first_index`."""
        if proto.WhichOneof("outcome") == "failure":
            return cls(first_index + proto.index, None, _status.of_item(proto.failure), proto)
        return cls(first_index + proto.index, _vectors.vector(proto.embedding), None, proto)


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One document, ranked."""

    index: int
    """Its position in the request, from 0."""

    score: float
    """Cosine of the angle to the query, -1 to 1; more is nearer."""

    text: str
    """The document."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run has begun. First event of a run."""

    run_id: str
    proto: step_run_pb2.RunStepResponse = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class StepResult:
    """One result of a run, or the error that keeps its place."""

    value: Any
    """JSON as Python has it; a float32 array for an embedding; `Message` or `bytes` for those; None for an error."""

    error: errors.Error | None
    """Why the item failed; None for a result."""

    path: tuple[int, ...]
    """Its position among the results of each step, from 0. Results come in the order of their paths."""

    proto: step_run_pb2.RunStepResponse | step_run_pb2.StepResult = field(repr=False)

    @property
    def text(self) -> str:
        """The value if it is a text, the text of a message; otherwise empty."""
        if isinstance(self.value, message_pb2.Message):
            return self.value.text
        return self.value if isinstance(self.value, str) else ""


@dataclass(frozen=True, slots=True)
class StageEvent:
    """Something happened at a step. A slow reader loses events, never results: `dropped_before` says how many."""

    step_path: str
    """The step: its position in the spec, as in `steps[1].map.step`."""

    kind: StageKind
    name: str
    path: tuple[int, ...]
    """Place of the input, with `started` and `text_delta`, or of the result, with `result` and `error`; from 0."""

    text: str
    """More of a chat step's reply, with `text_delta`; otherwise empty."""

    value: Any
    """The input, with `started`; the value, with `result`. None for what takes more than 4 KiB, and for vectors and
    bytes: `proto.HasField("value")` tells."""

    error: errors.Error | None
    """Why, with `error`."""

    attempt: int
    """The attempt that comes next, from 2, with `retrying` and `restarted`; otherwise 0."""

    dropped_before: int
    """How many events were lost before this one because the reader was slow."""

    proto: step_run_pb2.StageEvent = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run is over. Last event."""

    results: int
    """Results sent, errors not counted."""

    errors: int
    """Items that failed."""

    aborted: bool
    """Whether the last error ended the run, because each further input would have met it too."""

    metadata: step_run_pb2.StepMetadata = field(repr=False)
    """How the run went, in the shape of its spec."""

    proto: step_run_pb2.RunFinished = field(repr=False, compare=False)


#: One event of a run.
RunEvent: TypeAlias = RunStarted | StepResult | StageEvent | RunFinished

_STAGE_KINDS: dict[int, StageKind] = {
    step_run_pb2.STAGE_EVENT_KIND_STARTED: "started",
    step_run_pb2.STAGE_EVENT_KIND_RESULT: "result",
    step_run_pb2.STAGE_EVENT_KIND_ERROR: "error",
    step_run_pb2.STAGE_EVENT_KIND_COMPLETED: "completed",
    step_run_pb2.STAGE_EVENT_KIND_TEXT_DELTA: "text_delta",
    step_run_pb2.STAGE_EVENT_KIND_CANCELLED: "cancelled",
    step_run_pb2.STAGE_EVENT_KIND_RETRYING: "retrying",
    step_run_pb2.STAGE_EVENT_KIND_RESTARTED: "restarted",
}


def run_event(proto: step_run_pb2.RunStepResponse) -> RunEvent | None:
    """Read one event; None for a kind that this version does not know."""
    match proto.WhichOneof("event"):
        case "started":
            return RunStarted(proto.started.run_id, proto)
        case "finished":
            end = proto.finished
            return RunFinished(end.results, end.errors, end.aborted, end.metadata, end)
        case "stage":
            return _stage_event(proto.stage, tuple(proto.path))
        case "value" | "embedding" | "message" | "data" | "failure" as kind:
            return step_result(proto, kind)
        case _:
            return None


def _stage_event(stage: step_run_pb2.StageEvent, path: tuple[int, ...]) -> StageEvent:
    kind: StageKind = _STAGE_KINDS.get(stage.kind, "unknown")
    error = _status.of_item(stage.failure) if stage.HasField("failure") else None
    return StageEvent(
        step_path=stage.step_path,
        kind=kind,
        name=stage.name,
        path=path,
        text=stage.text_delta,
        value=_values.from_value(stage.value),
        error=error,
        attempt=stage.attempt,
        dropped_before=stage.dropped_before,
        proto=stage,
    )


def step_result(proto: step_run_pb2.RunStepResponse | step_run_pb2.StepResult, kind: str | None) -> StepResult:
    """Read one result of the given kind."""
    path = tuple(proto.path)
    match kind:
        case "value":
            return StepResult(_values.from_value(proto.value), None, path, proto)
        case "embedding":
            return StepResult(_vectors.vector(proto.embedding), None, path, proto)
        case "message":
            return StepResult(proto.message, None, path, proto)
        case "data":
            return StepResult(proto.data, None, path, proto)
        case "failure":
            return StepResult(None, _status.of_item(proto.failure), path, proto)
        case _:
            raise errors.ServerError("a result of a kind that this version does not know", code="INTERNAL")


class RunResults(list[Any]):
    """The values of a run, in order; where an item failed, the error stands in its place.

    Attributes:
        results: The same with their paths.
        metadata: How the run went, in the shape of its spec.
        run_id: What the server's log calls the run.
    """

    def __init__(self, results: Iterable[StepResult], metadata: step_run_pb2.StepMetadata, run_id: str) -> None:
        self.results = list(results)
        self.metadata = metadata
        self.run_id = run_id
        super().__init__(result.value if result.error is None else result.error for result in self.results)
