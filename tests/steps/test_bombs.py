"""Specs that make as much as they can: ended at their limit, at once, in bounded memory. And long runs in little."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from stepwired.errors import Reason, Throttled
from stepwired.events import Json
from stepwired.limits import MIB, Limits
from stepwired.steps.named import NamedStep
from stepwired.steps.results import ErrorMode, Item
from stepwired.steps.spec import Compose, Filter, Javascript, Kind, Map, Named, Parallel, Retry, Spec, Take
from tests.steps.conftest import Functions, Scripted, events_of, placed, registry_of


def _copies(value: Json) -> Iterator[Json]:
    for _ in range(100):
        yield value


COPIES = NamedStep("copies", _copies, quick=True)
MANY = NamedStep("many", lambda value: [value] * 100, quick=True)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize(
    "kinds",
    [
        [Named("copies")] * 5,
        [Compose((Spec(Named("many"), "n"), Spec(Map(Spec(Compose(()), "i")), "m")))] * 5,
        [Compose((Spec(Named("many"), "n"), Spec(Parallel(Spec(Compose(()), "i"), 16, as_completed=True), "m")))] * 5,
    ],
    ids=["steps", "maps", "parallels"],
)
async def test_a_bomb_is_ended_when_it_crosses_its_limit_and_takes_little_memory(kinds: list[Kind]) -> None:
    registry = registry_of(Scripted(), Limits(step_values=20_000), named=[COPIES, MANY])
    gc.collect()
    before = peak_bytes()
    run = registry.run(placed(*kinds), "x" * 100, error_mode=ErrorMode.CONTINUE, events=False, run_id="r")
    last_s = time.monotonic()

    async def read() -> None:
        nonlocal last_s
        async with aclosing(run) as events:
            async for _ in events:
                last_s = time.monotonic()

    with pytest.raises(Throttled) as caught:
        await read()
    took_s = time.monotonic() - last_s
    assert caught.value.metadata["limitName"] == "step_values"
    assert took_s < 10  # in fact a few milliseconds; a hang is what this is about
    assert peak_bytes() - before < 64 * MIB


async def test_retries_of_retries_are_bounded_by_the_run() -> None:
    calls = 0

    def failing(value: Json) -> Json:
        nonlocal calls
        calls += 1
        raise Throttled(Reason.PROVIDER_OVERLOADED, "busy")

    step = Spec(Named("failing"), "f")
    for _ in range(6):
        step = Spec(Retry(step, 10, initial_delay_s=0.0), "r")
    registry = registry_of(Scripted(), named=[NamedStep("failing", failing, quick=True)])
    events = await events_of(registry, [step], 1)
    assert sum(isinstance(event, Item) for event in events) == 1
    assert calls == 101


async def test_a_long_run_through_map_filter_and_take_takes_little_memory() -> None:
    count = 30_000

    def numbers(value: Json) -> Iterator[Json]:
        yield from range(count * 4)

    functions = Functions({"double": lambda x, _: x * 2, "even": lambda x, _: x % 4 == 0})
    registry = registry_of(Scripted(), named=[NamedStep("numbers", numbers, quick=True)], functions=functions)
    steps = placed(Named("numbers"), Javascript("double"), Filter(Spec(Javascript("even"), "where")), Take(count))
    gc.collect()
    before = peak_bytes()
    results = 0
    async with aclosing(registry.run(steps, None, error_mode=ErrorMode.CONTINUE, events=False, run_id="r")) as events:
        async for event in events:
            results += isinstance(event, Item)
    assert results == count
    assert peak_bytes() - before < 16 * MIB
