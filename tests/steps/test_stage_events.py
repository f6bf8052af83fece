"""What a run tells of its steps: what `withEvents` of the guide is a filter of."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest
from msgspec import UNSET

from stepwired.errors import Failure
from stepwired.events import Batch, ChatRequest, Finished, Json
from stepwired.steps.named import NamedStep
from stepwired.steps.results import RunEvent, StageEvent, StageEventKind
from stepwired.steps.spec import (
    Case,
    ChatLeaf,
    Choice,
    Compose,
    EmbedLeaf,
    Filter,
    Gather,
    Javascript,
    Kind,
    Map,
    Named,
    Parallel,
    Process,
    Retry,
    Spec,
    State,
    Timeout,
)
from tests.steps.conftest import Functions, Scripted, as_json, events_of, placed, registry_of, results_in

K = StageEventKind
UPPER = Spec(Named("upper"), "inner")
FUNCTIONS = Functions(
    {"upper": lambda text, _: text.upper(), "yes": lambda *_: True, "state": lambda text, *_: {"output": text.upper()}}
)

#: Each kind around a step at `inner` that makes texts upper case, and fails where a value is none.
AROUND: dict[str, Kind] = {
    "map": Map(UPPER),
    "map, side by side": Map(Spec(Named("upper"), "inner", max_concurrency=4)),
    "map, in JavaScript": Map(Spec(Javascript("upper"), "inner")),
    "parallel": Parallel(UPPER),
    "parallel, as completed": Parallel(UPPER, as_completed=True),
    "parallel, in JavaScript": Parallel(Spec(Javascript("upper"), "inner")),
    "map of compose": Map(Spec(Compose((UPPER,)), "c")),
    "map of process": Map(Spec(Process(process=UPPER), "p")),
    "map of retry": Map(Spec(Retry(UPPER), "r")),
    "map of timeout": Map(Spec(Timeout(UPPER, 3600.0), "t")),
    "map of choice": Map(Spec(Choice((Case(Spec(Javascript("yes"), "w"), UPPER),)), "c")),
    "map of filter": Map(Spec(Compose((UPPER, Spec(Filter(Spec(Javascript("yes"), "w")), "f"))), "c")),
    "state": Map(Spec(State(Spec(Javascript("state"), "inner")), "s")),
}


class Quiet(Scripted):
    """Says its whole reply at once."""

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        async with aclosing(super().chat(request)) as batches:
            async for batch in batches:
                if isinstance(batch[0], Finished):
                    yield batch


async def told(kind: Kind, value: Json, path: str) -> Sequence[StageEvent]:
    registry = registry_of(Scripted(), functions=FUNCTIONS)
    events: list[RunEvent] = await events_of(registry, placed(kind), value, events=True)
    return [event for event in events if isinstance(event, StageEvent) and event.step_path == path]


@pytest.mark.parametrize("kind", AROUND.values(), ids=AROUND)
async def test_a_step_tells_each_input_each_result_each_error_and_once_its_end(kind: Kind) -> None:
    events = await told(kind, ["a", 1, "b"], "inner")
    assert [event.kind for event in events].count(K.COMPLETED) == 1
    assert events[-1].kind is K.COMPLETED
    started = [event for event in events if event.kind is K.STARTED]
    assert len(started) == 3
    assert len({event.path for event in started}) == 3
    results = [event.value for event in events if event.kind is K.RESULT]
    wanted = ["A", "B"] if "state" not in str(kind) else [{"output": "A"}, {"output": "B"}]
    assert sorted(results, key=str) == wanted
    [error] = [event for event in events if event.kind is K.ERROR]
    assert isinstance(error.failure, Failure)
    assert error.failure.metadata["stepPath"] == "inner"
    assert K.CANCELLED not in [event.kind for event in events]


async def test_the_end_is_told_after_an_error_too_and_nothing_of_what_never_began() -> None:
    assert [event.kind for event in await told(Map(UPPER), [1], "inner")] == [K.STARTED, K.ERROR, K.COMPLETED]
    assert await told(Map(UPPER), [], "inner") == []


async def test_paths_lead_from_a_result_back_to_its_input() -> None:
    events = await told(Map(UPPER), ["a", "b"], "inner")
    assert [(event.kind, event.path) for event in events] == [
        (K.STARTED, (0,)),
        (K.RESULT, (0, 0)),
        (K.STARTED, (1,)),
        (K.RESULT, (1, 0)),
        (K.COMPLETED, ()),
    ]


async def test_each_step_tells_once_that_it_is_complete_however_deep_it_lies() -> None:
    inner = Spec(Compose((Spec(Named("upper"), "u"), Spec(Named("lower"), "l"))), "m")
    nested = Spec(Compose((Spec(Map(inner), "steps[0]"), Spec(Gather(), "g"))), "c")
    events = await events_of(registry_of(Scripted()), [nested], ["a", 1, "b"], events=True)
    completed = [
        event.step_path for event in events if isinstance(event, StageEvent) and event.kind is StageEventKind.COMPLETED
    ]
    assert sorted(completed) == sorted(["c", "g", "l", "m", "steps[0]", "u"])


@pytest.mark.parametrize(
    ("kind", "value", "is_told"),
    [
        (Named("same"), None, True),
        (Named("same"), {"a": 1}, True),
        (Named("same"), "x" * 4094, True),
        (Named("same"), "x" * 4095, False),
        (Named("same"), [0.123456789] * 1000, False),
        (EmbedLeaf(), "a", False),
        (ChatLeaf(), "short", True),
        (ChatLeaf(), "x" * 4095, False),
    ],
    ids=["null", "object", "largest", "too large", "long list", "vector", "message", "large message"],
)
async def test_events_hold_small_json_and_nothing_else_of_a_value(kind: Kind, value: Json, is_told: bool) -> None:
    registry = registry_of(Quiet(), named=[NamedStep("same", lambda value: value, quick=True)])
    events = await events_of(registry, placed(kind), value, events=True)
    told = {event.kind: event.value for event in events if isinstance(event, StageEvent)}
    [result] = results_in(events)
    assert told[K.RESULT] == (as_json(result) if is_told else UNSET)  # type: ignore[arg-type]
    assert (told[K.STARTED] == value) == (is_told or kind == EmbedLeaf())
    assert told[K.COMPLETED] is UNSET
