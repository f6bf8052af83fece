"""Each combinator and leaf by itself: what it promises beyond what lists can say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing

import pytest

from stepwired.errors import Failure, Reason, StepFailed, Throttled
from stepwired.events import Json, Message
from stepwired.steps.named import NamedStep
from stepwired.steps.results import ErrorMode, Item, Outcome, StageEvent, StageEventKind
from stepwired.steps.spec import (
    Case,
    ChatEmit,
    ChatLeaf,
    Choice,
    Filter,
    Javascript,
    Kind,
    Map,
    Named,
    Parallel,
    Spec,
    Spread,
    State,
    Take,
    Timeout,
)
from tests.steps.conftest import Functions, Scripted, events_of, finished_in, placed, registry_of, results_in

FUNCTIONS = Functions(
    {
        "double": lambda x, _: x * 2,
        "meta": lambda x, meta: meta,
        "yes": lambda *_: True,
        "no": lambda *_: False,
        "text": lambda *_: "yes",
        "add": lambda x, state, _: {"outputs": [state + x], "state": state + x},
        "keep": lambda x, state, _: {"output": state},
        "none": lambda x, state, _: {"state": x},
        "both": lambda x, state, _: {"output": 1, "outputs": []},
        "no list": lambda x, state, _: {"outputs": 1},
        "list": lambda x, state, _: [x],
    }
)


def js(source: str, path: str = "f") -> Spec:
    return Spec(Javascript(source), path)


async def found(kinds: Sequence[Kind | Spec], value: Json, *steps: NamedStep) -> list[object]:
    registry = registry_of(Scripted(), functions=FUNCTIONS, named=steps)
    return results_in(await events_of(registry, placed(*kinds), value))


async def forever(value: Json) -> AsyncGenerator[Json, None]:
    yield value
    await asyncio.Event().wait()


FOREVER = NamedStep("forever", forever)


async def test_a_function_is_told_where_it_is() -> None:
    inner = Spec(Javascript("meta"), "steps[0].map.step")
    assert await found([Map(inner)], ["a", "b"]) == [
        {"index": index, "attempt": 1, "runId": "r", "stepPath": "steps[0].map.step"} for index in range(2)
    ]


async def test_functions_get_values_in_batches_that_grow_and_keep_their_order() -> None:
    FUNCTIONS.batches.clear()
    values: list[Json] = list(range(5000))
    assert await found([Map(js("double"))], values) == [2 * index for index in range(5000)]
    assert FUNCTIONS.batches[:4] == [1, 2, 4, 8]
    assert len(FUNCTIONS.batches) < 40
    FUNCTIONS.batches.clear()
    assert await found([Spread(), js("double", "steps[1]")], values) == [2 * index for index in range(5000)]
    assert sum(FUNCTIONS.batches) == 5000


async def test_large_values_travel_in_small_batches() -> None:
    FUNCTIONS.batches.clear()
    big: list[Json] = ["x" * 600_000] * 20
    assert len(await found([Spread(), Filter(js("yes"))], big)) == 20
    assert max(FUNCTIONS.batches) <= 3


async def test_a_batch_never_waits_for_company() -> None:
    functions = Functions({"double": lambda x, _: x * 2})
    registry = registry_of(Scripted(), functions=functions, named=[FOREVER])
    run = registry.run(
        placed(Named("forever"), js("double", "steps[1]")), 1, error_mode=ErrorMode.CONTINUE, events=False, run_id="r"
    )
    async with aclosing(run) as events:
        await anext(events)
        first = await asyncio.wait_for(anext(events), 10)
    assert isinstance(first, Item)
    assert first.result == 2


async def test_one_item_that_fails_in_a_batch_leaves_the_others_alone() -> None:
    results = await found([Map(js("double"))], [1, None, 3])
    assert [getattr(result, "reason", result) for result in results] == [2, Reason.STEP_EXECUTION_FAILED, 6]


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (Filter(js("text", "where")), "where"),
        (Map(Spec(Filter(js("text", "where")), "m")), "where"),
        (Choice((Case(js("text", "when"), js("double")),)), "when"),
        (Filter(Spec(Named("lines"), "lines")), "lines"),
        (State(js("both", "state")), "state"),
        (State(js("no list", "state")), "state"),
        (State(js("list", "state")), "state"),
        (State(Spec(Named("lines"), "lines")), "lines"),
    ],
)
async def test_a_function_that_results_in_the_wrong_thing_fails_where_it_stands(kind: Kind, path: str) -> None:
    value: Json = ["a\nb"] if isinstance(kind, Map) else "a\nb"
    [failure] = await found([kind], value)
    assert isinstance(failure, Failure)
    if not isinstance(kind, State) or path == "state":
        assert failure.reason is Reason.STEP_OUTPUT_INVALID
    assert failure.metadata["stepPath"] == path


async def test_any_step_of_one_result_is_a_function() -> None:
    even = NamedStep("even", lambda value: value % 2 == 0, quick=True)
    total = NamedStep(
        "total", lambda asked: {"output": asked["input"] + asked["state"], "state": asked["input"]}, quick=True
    )
    assert await found([Spread(), Filter(Spec(Named("even"), "f"))], [1, 2, 3, 4], even) == [2, 4]
    assert await found([Spread(), State(Spec(Named("total"), "f"), 10)], [1, 2, 3], total) == [11, 3, 5]


async def test_a_state_goes_from_value_to_value_and_begins_anew_with_each_run() -> None:
    for _ in range(2):
        assert await found([Spread(), State(js("add"), 100)], [1, 2, 3]) == [101, 103, 106]
    assert await found([State(js("keep"), {"a": 1})], 5) == [{"a": 1}]
    assert await found([State(js("keep"))], 5) == [None]
    assert await found([State(js("none"))], 5) == []


async def test_a_function_that_fails_leaves_the_state_as_it_was() -> None:
    results = await found([Spread(), State(js("add"), 0)], [1, "x", 2])
    assert [getattr(result, "reason", result) for result in results] == [1, Reason.STEP_EXECUTION_FAILED, 3]


async def test_values_of_a_state_are_worked_on_one_after_the_other_even_side_by_side() -> None:
    inner = Spec(State(js("add"), 0), "steps[0].parallel.step")
    assert await found([Parallel(inner, 8)], list(range(20))) == [sum(range(index + 1)) for index in range(20)]


async def test_a_timeout_stands_behind_what_was_made_and_the_step_is_cancelled() -> None:
    registry = registry_of(Scripted(), named=[FOREVER])
    kind = Timeout(Spec(Named("forever"), "steps[0].timeout.step"), 0.05)
    events = await events_of(registry, placed(kind), "a", events=True)
    made, failure = results_in(events)
    assert made == "a"
    assert isinstance(failure, StepFailed)
    assert failure.reason is Reason.STEP_TIMEOUT
    assert failure.metadata == {"limitMs": "50", "stepPath": "steps[0]"}
    cancelled = [event for event in events if isinstance(event, StageEvent) and event.kind is StageEventKind.CANCELLED]
    assert [event.step_path for event in cancelled] == ["steps[0].timeout.step"]


async def test_a_step_within_its_time_is_left_alone() -> None:
    assert await found([Timeout(js("double"), 3600.0)], 2) == [4]


async def test_time_in_which_nobody_takes_results_counts_too() -> None:
    endless = NamedStep("endless", _endless)
    registry = registry_of(Scripted(), named=[endless])
    kind = Timeout(Spec(Named("endless"), "e"), 0.02)
    run = registry.run(placed(kind), 1, error_mode=ErrorMode.CONTINUE, events=False, run_id="r")
    late = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, late.set)
    async with aclosing(run) as events:
        await anext(events)
        await late.wait()
        left = [event.result async for event in events if isinstance(event, Item)]
    assert len(left) < 10
    assert isinstance(left[-1], StepFailed)


async def _endless(value: Json) -> AsyncGenerator[Json, None]:
    while True:
        yield value


async def test_values_that_nothing_is_made_of_do_not_hold_up_others() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def nothing(value: Json) -> Iterator[Json]:
        yield from ()

    counting = asyncio.create_task(count())
    inner = Spec(Named("nothing"), "n")
    try:
        assert await found([Map(inner)], list(range(10_000)), NamedStep("nothing", nothing, quick=True)) == []
        assert turns >= 10_000 // 256
    finally:
        counting.cancel()
        await asyncio.wait([counting])


async def test_take_ends_everything_before_it_and_the_run_is_complete() -> None:
    registry = registry_of(Scripted(), named=[FOREVER])
    events = await events_of(registry, placed(Named("forever"), Take(1)), "a", events=True)
    assert results_in(events) == ["a"]
    metadata = finished_in(events).metadata
    assert metadata.outcome is Outcome.COMPLETED
    assert [step.outcome for step in metadata.steps] == [Outcome.CANCELLED, Outcome.COMPLETED]
    told = [(event.step_path, event.kind) for event in events if isinstance(event, StageEvent)]
    assert ("steps[0]", StageEventKind.CANCELLED) in told
    assert ("steps[0]", StageEventKind.COMPLETED) not in told
    assert told[-1] == ("steps[1]", StageEventKind.COMPLETED)


async def test_take_of_nothing_starts_nothing_and_failures_do_not_count() -> None:
    calls: list[Json] = []
    counted = NamedStep("counted", calls.append, quick=True)
    assert await found([Named("counted"), Take(0)], 1, counted) == []
    assert calls == []
    results = await found([Map(Spec(Named("upper"), "m")), Take(2)], [1, "a", 2, "b", 3, "c"])
    assert [getattr(result, "reason", result) for result in results] == [
        Reason.STEP_INPUT_INVALID,
        "A",
        Reason.STEP_INPUT_INVALID,
        "B",
    ]


async def test_failing_fast_cancels_the_others_and_the_failure_is_last() -> None:
    begun: list[Json] = []
    all_begun = asyncio.Event()

    async def work(value: Json) -> Json:
        begun.append(value)
        if len(begun) == 3:
            all_begun.set()
        await all_begun.wait()
        if value == 1:
            raise Throttled(Reason.PROVIDER_RATE_LIMITED, "slow down")
        await asyncio.Event().wait()
        return value

    for as_completed in (False, True):
        begun.clear()
        all_begun.clear()
        kind = Parallel(Spec(Named("work"), "w"), 3, as_completed=as_completed, fail_fast=True)
        [failure] = await found([kind], [0, 1, 2, 3, 4], NamedStep("work", work))
        assert isinstance(failure, Throttled)
        assert begun == [0, 1, 2]


async def test_as_completed_does_not_wait_for_the_first_and_says_where_each_belongs() -> None:
    first_may_end = asyncio.Event()

    async def work(value: Json) -> Json:
        if value == 0:
            await first_may_end.wait()
        return value

    registry = registry_of(Scripted(), named=[NamedStep("work", work)])
    kind = Parallel(Spec(Named("work"), "w"), 2, as_completed=True)
    run = registry.run(placed(kind), [0, 1, 2], error_mode=ErrorMode.CONTINUE, events=False, run_id="r")
    got: list[tuple[tuple[int, ...], object]] = []
    async with aclosing(run) as events:
        async for event in events:
            if isinstance(event, Item):
                got.append((event.path, event.result))
                if len(got) == 2:
                    first_may_end.set()
    assert got == [((1, 0), 1), ((2, 0), 2), ((0, 0), 0)]


async def test_chat_can_result_in_the_pieces_of_its_text() -> None:
    assert await found([ChatLeaf(emit=ChatEmit.DELTAS)], "abc") == ["c", "b", "a"]
    [message] = await found([ChatLeaf()], "abc")
    assert isinstance(message, Message)
