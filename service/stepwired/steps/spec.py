"""What a caller asks to have run: a tree of steps, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any

from stepwired.events import ChatOptions, Json


@dataclass(frozen=True, slots=True)
class Named:
    """The step of this name, optionally `name@version`."""

    name: str


@dataclass(frozen=True, slots=True)
class Compose:
    """The steps one after the other, each result of one being an input of the next."""

    steps: tuple[Spec, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """`step` on each item of a list, in order; as many at once as the step itself says."""

    step: Spec | None


@dataclass(frozen=True, slots=True)
class Spread:
    """A list to its items."""


@dataclass(frozen=True, slots=True)
class Gather:
    """All values of the step before, as one list."""


class ChatEmit(Enum):
    """What a chat step results in."""

    MESSAGE = "message"
    DELTAS = "deltas"


@dataclass(frozen=True, slots=True)
class ChatLeaf:
    """One reply of a model. What the input names wins over what stands here."""

    model: str = ""
    system: str = ""
    options: ChatOptions = field(default_factory=ChatOptions)
    emit: ChatEmit = ChatEmit.MESSAGE


@dataclass(frozen=True, slots=True)
class EmbedLeaf:
    """A text to its vector, or each text of a list."""

    model: str = ""


@dataclass(frozen=True, slots=True)
class SearchLeaf:
    """Documents, ranked by how near they are to a query."""

    top_k: int | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class Render:
    """A template, filled with the input."""

    template: str


@dataclass(frozen=True, slots=True)
class Javascript:
    """One call of a function for each value."""

    source: str


@dataclass(frozen=True, slots=True)
class Client:
    """A function that the caller of the run serves."""

    function: str


@dataclass(frozen=True, slots=True)
class Take:
    """The first values; then everything before it is ended."""

    count: int


@dataclass(frozen=True, slots=True)
class Filter:
    """The values that a function says yes to."""

    where: Spec | None


@dataclass(frozen=True, slots=True)
class Process:
    """The composition of those of the three that are there."""

    pre: Spec | None = None
    process: Spec | None = None
    post: Spec | None = None


@dataclass(frozen=True, slots=True)
class Parallel:
    """`step` on each item of a list, side by side."""

    step: Spec | None
    max_concurrency: int = 4
    as_completed: bool = False
    fail_fast: bool = False


class Emitted(Enum):
    """What to do with a step that fails after it has made results."""

    FAIL = "fail"
    BUFFER = "buffer"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Retry:
    """`step` again when it fails."""

    step: Spec | None
    max_attempts: int = 3
    initial_delay_s: float = 1.0
    multiplier: float = 2.0
    max_delay_s: float = 60.0
    jitter: float = 0.2
    backoff: Spec | None = None
    when: Spec | None = None
    emitted: Emitted = Emitted.FAIL


@dataclass(frozen=True, slots=True)
class Timeout:
    """Only so much time for each input."""

    step: Spec | None
    limit_s: float


@dataclass(frozen=True, slots=True)
class State:
    """A function of each value and of a state that it hands on."""

    step: Spec | None
    initial: Json = None


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a choice."""

    when: Spec | None
    then: Spec | None


@dataclass(frozen=True, slots=True)
class Choice:
    """The first step whose condition holds."""

    cases: tuple[Case, ...]
    otherwise: Spec | None = None


Leaf = Named | Spread | Gather | ChatLeaf | EmbedLeaf | SearchLeaf | Render | Javascript | Client | Take
Kind = Leaf | Compose | Map | Filter | Process | Parallel | Retry | Timeout | State | Choice


@dataclass(frozen=True, slots=True)
class Spec:
    """One step of a tree. Numbers are in range already: whoever makes a Spec has checked them."""

    kind: Kind | None
    """What it does; None where the caller left it out, which `registry.validate` reports."""

    path: str
    """Where it stands in the request, as in `steps[1].map.step`."""

    name: str = ""
    """What it is called in metadata and events; empty for its kind."""

    labels: Mapping[str, str] = field(default_factory=dict)
    max_concurrency: int = 1
    """How many of its inputs are worked on at once."""

    buffer: int = 1
    """How many of its results may wait to be taken."""

    as_completed: bool = False
    """With `max_concurrency` above 1: results as they come, not in the order of the inputs."""


def inside(kind: Kind | None) -> Iterator[Spec]:
    """The steps right within one, in the order of the spec."""
    if kind is not None:
        yield from _specs_in(kind)


def every(steps: Iterable[Spec], *, most: int | None = None, depth: int | None = None) -> Iterator[Spec]:
    """Steps and all within them, in the order of the spec.

    Args:
        steps: First to last.
        most: How many at most; None for all.
        depth: How deep at most, from 1; None for any.
    """
    waiting = [(step, 1) for step in reversed(list(steps))]
    count = 0
    while waiting and (most is None or count < most):
        step, level = waiting.pop()
        count += 1
        yield step
        if depth is None or level < depth:
            waiting += [(inner, level + 1) for inner in reversed(list(inside(step.kind)))]


def _specs_in(part: Any) -> Iterator[Spec]:
    for each in fields(part):
        value = getattr(part, each.name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Spec):
                yield one
            elif isinstance(one, Case):
                yield from _specs_in(one)


def moved(step: Spec, prefix: str) -> Spec:
    """The same step, and all within, standing somewhere else: `prefix` before each path."""
    return replace(step, path=prefix + step.path, kind=None if step.kind is None else _moved_in(step.kind, prefix))


def _moved_in(part: Any, prefix: str) -> Any:
    def change(value: Any) -> Any:
        match value:
            case tuple():
                return tuple(map(change, value))
            case Spec():
                return moved(value, prefix)
            case Case():
                return _moved_in(value, prefix)
        return value

    return replace(part, **{each.name: change(getattr(part, each.name)) for each in fields(part)})
