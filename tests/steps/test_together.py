"""What stands side by side: what failing fast ends, what a list is gathered of, how a step's inputs count as one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from stepwired.errors import Failure, Reason, StepFailed
from stepwired.events import Json
from stepwired.steps.named import NamedStep
from stepwired.steps.results import Item, Outcome
from stepwired.steps.spec import Compose, Gather, Map, Named, Parallel, Spec, Spread, Timeout
from tests.steps.conftest import Scripted, events_of, finished_in, placed, registry_of, results_in

GATHER = Spec(Gather(), "gather")
WORK = Spec(Named("work"), "work", buffer=8)


def no() -> Failure:
    return StepFailed(Reason.STEP_EXECUTION_FAILED, "no")


@pytest.mark.parametrize("as_completed", [False, True])
async def test_nothing_stands_behind_the_failure_that_cancels_the_others(as_completed: bool) -> None:
    async def work(value: Json) -> Json:
        await asyncio.sleep(0)
        if value == 0:
            raise no()
        return value

    kind = Parallel(WORK, 4, as_completed=as_completed, fail_fast=True)
    registry = registry_of(Scripted(), named=[NamedStep("work", work)])
    found = results_in(await events_of(registry, placed(kind), list(range(8))))
    assert [isinstance(result, Failure) for result in found] == [True]


async def backwards(value: int) -> int:
    """Is done the sooner the greater the value is; fails for 9."""
    for _ in range(100 * (9 - value)):
        await asyncio.sleep(0)
    if value == 9:
        raise no()
    return value


@pytest.mark.parametrize("values", [[0, 1, 2, 3], [0, 1, 2, 9], [9, 0, 1, 2], [9]])
async def test_what_is_gathered_as_it_comes_is_a_list_in_order_behind_everything(values: Sequence[int]) -> None:
    registry = registry_of(Scripted(), named=[NamedStep("work", backwards)])
    events = await events_of(registry, placed(Parallel(WORK, 4, as_completed=True), Gather()), list(values))
    items = [event for event in events if isinstance(event, Item)]
    [gathered] = [item for item in items if not isinstance(item.result, Failure)]
    assert gathered.result == [value for value in values if value != 9]
    assert max(items, key=lambda item: item.path) is gathered
    assert len({item.path for item in items}) == len(items)


async def test_a_list_gathered_of_nothing_has_a_place_below_its_input() -> None:
    nothing = Spec(Compose((Spec(Spread(), "s"), Spec(Parallel(WORK, 2, as_completed=True), "p"), GATHER)), "inner")
    kind = Parallel(nothing, 2, as_completed=True)
    registry = registry_of(Scripted(), named=[NamedStep("work", backwards)])
    events = await events_of(registry, placed(kind), [[[]], [], [[1, 2]], []])
    found = {event.path: event.result for event in events if isinstance(event, Item)}
    assert [found[path] for path in sorted(found)] == [[], [], [1, 2], []]
    assert [path[0] for path in sorted(found)] == [0, 1, 2, 3]


@pytest.mark.parametrize("values", [["cut", "whole"], ["whole", "cut"], ["whole", "cut", "whole"]])
async def test_a_step_counts_as_cut_off_if_one_of_its_inputs_was_whichever_came_last(values: list[Json]) -> None:
    async def work(value: Json) -> Json:
        if value == "cut":
            await asyncio.Event().wait()
        return value

    registry = registry_of(Scripted(), named=[NamedStep("work", work)])
    inner = Spec(Compose((WORK,)), "inner")
    events = await events_of(registry, placed(Map(Spec(Timeout(inner, 0.05), "timeout"))), values)
    [timeout] = finished_in(events).metadata.steps[0].steps
    assert timeout.outcome is Outcome.COMPLETED
    assert timeout.steps[0].outcome is Outcome.CANCELLED
    assert timeout.steps[0].steps[0].outcome is Outcome.CANCELLED


async def test_a_step_whose_inputs_all_came_to_their_end_is_complete() -> None:
    async def work(value: Json) -> Json:
        if value == 1:
            raise no()
        return value

    registry = registry_of(Scripted(), named=[NamedStep("work", work)])
    events = await events_of(registry, placed(Map(WORK)), [0, 1, 2])
    assert finished_in(events).metadata.steps[0].steps[0].outcome is Outcome.COMPLETED
