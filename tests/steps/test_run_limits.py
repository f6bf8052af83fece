"""What ends a run early, or an item of it: limits, a reader who left, defects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from stepwired.errors import Failure, Reason, Throttled
from stepwired.events import Batch, ChatRequest, Json
from stepwired.limits import Limits
from stepwired.steps.registry import Registry
from stepwired.steps.spec import ChatLeaf, EmbedLeaf, Gather, Kind, Map, Named, Render, Spec, Spread
from tests.steps.conftest import Scripted, events_of, placed, registry_of, results_in


async def test_a_run_that_is_left_stops_its_model() -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    class Silent(Scripted):
        async def chat(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
            try:
                started.set()
                await asyncio.sleep(3600)
                yield []
            finally:
                stopped.set()

    registry = registry_of(Silent())
    before = asyncio.all_tasks()

    async def read() -> None:
        await events_of(registry, placed(Map(Spec(ChatLeaf(), "steps[0].map.step", max_concurrency=64))), ["a"] * 64)

    reading = asyncio.create_task(read())
    await asyncio.wait_for(started.wait(), 60)
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()
    assert stopped.is_set()
    assert asyncio.all_tasks() == before


async def test_more_values_than_a_stage_may_make_end_the_run(scripted: Scripted) -> None:
    registry = registry_of(scripted, Limits(step_values=3))
    with pytest.raises(Throttled) as caught:
        await events_of(registry, placed(Spread()), [1, 2, 3, 4])
    assert caught.value.reason is Reason.STEP_LIMIT_EXCEEDED
    assert caught.value.metadata["limitName"] == "step_values"
    assert caught.value.metadata["results"] == "3"


@pytest.mark.parametrize(
    ("kinds", "value"),
    [
        ([Render("{{.}}" * 1000)] * 3, "x" * 10),
        ([Named("to_json")] * 30, '"'),
        ([Spread(), Gather()], ["x" * 1000] * 11),
        ([Spread(), EmbedLeaf(), Gather()], ["a"] * 1000),
    ],
)
async def test_a_value_that_grows_too_large_fails_its_item(scripted: Scripted, kinds: list[Kind], value: Json) -> None:
    registry = registry_of(scripted, Limits(step_value_bytes=10_000))
    [failure] = results_in(await events_of(registry, placed(*kinds), value))
    assert isinstance(failure, Throttled)
    assert failure.metadata["limitName"] == "step_value_bytes"


@pytest.mark.parametrize("count", [33, 60, 900])
async def test_a_value_that_is_nested_too_deep_fails_in_its_place(registry: Registry, count: int) -> None:
    found = results_in(await events_of(registry, placed(*[Gather()] * count), 1))
    failures = [result for result in found if isinstance(result, Failure)]
    assert failures
    assert {failure.reason for failure in failures} == {Reason.STEP_OUTPUT_INVALID}


async def test_a_run_that_takes_too_long_is_ended() -> None:
    class Silent(Scripted):
        async def chat(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
            await asyncio.sleep(3600)
            yield []

    registry = registry_of(Silent(), Limits(run_s=0.01))
    with pytest.raises(Throttled) as caught:
        await events_of(registry, placed(ChatLeaf()), "a")
    assert caught.value.metadata["limitName"] == "run_s"


async def test_a_defect_ends_the_run_as_what_it_is() -> None:
    class Defective(Scripted):
        async def chat(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
            raise ZeroDivisionError
            yield []

    with pytest.raises(ZeroDivisionError):
        await events_of(registry_of(Defective()), placed(ChatLeaf()), "a")
