"""What comes out of a run: results in their places, events beside them, and how it went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import msgspec

from stepwired.errors import Failure
from stepwired.events import Json, Message, Usage


@dataclass(frozen=True, slots=True)
class Vector:
    """One embedding as a value. Functions see it as a list of numbers."""

    row: bytes
    """Little-endian IEEE 754 floats, four bytes each."""

    model: str
    index: int | None = None
    """Its place in the batch it was asked for with."""


#: What travels between steps.
Value = Json | Vector | Message | bytes


# What travels between steps are msgspec Structs and not dataclasses: one is made for each item and step, at a fifth of
# the cost.


class Scope(msgspec.Struct, frozen=True):
    """What holds for an input of a step, and for all that is made of it within."""

    attempt: int = 1
    """Above 1 where a retry step runs it again."""

    ends_s: float | None = None
    """When a timeout step ends it, as `time.monotonic` tells it."""


EVERYWHERE = Scope()


class Item(msgspec.Struct, frozen=True):
    """One result: a value, or the failure that stands in its place."""

    path: tuple[int, ...]
    """Its position among the outputs of each step it came through, from 0."""

    result: Value | Failure
    scope: Scope = EVERYWHERE


class Placed(msgspec.Struct, frozen=True):
    """A result that says itself where it belongs among those of its step, because it does not come in order."""

    path: tuple[int, ...]
    """Its position, below that of the input."""

    result: Value | Failure


class ErrorMode(Enum):
    """What to do when an item fails."""

    CONTINUE = "continue"
    FAIL_FAST = "fail_fast"


class StageEventKind(Enum):
    """What happened at a step."""

    STARTED = "started"
    RESULT = "result"
    ERROR = "error"
    COMPLETED = "completed"
    TEXT_DELTA = "text_delta"
    CANCELLED = "cancelled"
    RETRYING = "retrying"
    RESTARTED = "restarted"


@dataclass(frozen=True, slots=True)
class StageEvent:
    """Something that happened at a step, told to whoever watches the run."""

    step_path: str
    kind: StageEventKind
    name: str
    path: tuple[int, ...]
    """The place of the result, with RESULT and ERROR; else of the input."""

    text_delta: str = ""
    value: Value | msgspec.UnsetType = msgspec.UNSET
    """The input of STARTED, the value of RESULT. Who watches a run is told it as JSON, if that is
    small: it may wait for long."""

    failure: Failure | None = None
    dropped_before: int = 0
    """Events lost before this one because the reader was slow."""

    attempt: int = 0
    """The attempt that comes next, with RETRYING and RESTARTED."""

    delay_s: float | None = None
    """The wait before it, with RETRYING."""


class Outcome(Enum):
    """How a step ended."""

    NOT_STARTED = "not_started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Metadata:
    """How a step went, in the shape of its spec. Counts and usage include those of the steps within."""

    step_path: str
    type: str
    name: str
    start_time_ns: int
    """Nanoseconds since 1970, UTC, of its first input; 0 if none came."""

    duration_s: float
    inputs: int
    outputs: int
    errors: int
    attempts: int
    usage: Usage | None
    labels: Mapping[str, str]
    """Its own; those of the steps around it hold for it too."""

    outcome: Outcome
    model: str = ""
    provider: str = ""
    version: str = ""
    cache_hits: int = 0
    """Answers that came from a cache."""

    steps: tuple[Metadata, ...] = ()


@dataclass(frozen=True, slots=True)
class RunStarted:
    """First event of a run; comes with its first result or stage event."""

    run_id: str


@dataclass(frozen=True, slots=True)
class RunFinished:
    """Last event of a run that did not fail."""

    results: int
    errors: int
    aborted: bool
    inputs_not_started: int
    metadata: Metadata


RunEvent = RunStarted | Item | StageEvent | RunFinished
