"""Steps with a memory where much goes on at once: who sees which state, and what a failure leaves of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from stepwired.errors import Reason, Unavailable
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps.core import Input, Results
from stepwired.steps.meter import Meter
from stepwired.steps.named import NamedStep
from stepwired.steps.remote import Facts
from stepwired.steps.retry import Budget, Policy, retry
from stepwired.steps.sources import SavedPipeline
from stepwired.steps.spec import (
    Case,
    Choice,
    Compose,
    Emitted,
    Javascript,
    Kind,
    Map,
    Named,
    Parallel,
    Retry,
    Spec,
    Spread,
    State,
    Timeout,
)
from stepwired.steps.state import Memory
from tests.steps.conftest import Functions, Scripted, as_json, events_of, placed, registry_of
from tests.steps.test_pipelines import kept

MEMORY = Spec(State(Spec(Javascript("add"), "add"), 0), "memory")
LATE = Spec(Compose((Spec(Named("late"), "late"), MEMORY)), "inner")
YES = Spec(Javascript("yes"), "yes")

Seen = list[tuple[Json, Json]]
"""What the function of a state was called with, in the order of its calls: value, state."""


async def late(value: int) -> int:
    """Takes the more turns of the event loop the smaller the value is."""
    for _ in range(100 * (4 - value)):
        await asyncio.sleep(0)
    return value


async def seen_in(steps: Sequence[Kind | Spec], value: Json, *named: NamedStep) -> Seen:
    seen: Seen = []

    def add(value: Json, state: Json, _: Json) -> Json:
        assert isinstance(state, int)
        seen.append((value, state))
        return {"output": value, "state": state + 1}

    functions = Functions({"add": add, "yes": lambda *_: True})
    pipelines = kept(SavedPipeline("saved", "1", (LATE,)))
    registry = registry_of(Scripted(), functions=functions, named=[NamedStep("late", late), *named], others=[pipelines])
    await events_of(registry, placed(*steps), value, events=True)
    return seen


def wide(kind: Kind) -> Spec:
    return Spec(kind, "wide", max_concurrency=4)


@pytest.mark.parametrize(
    "steps",
    [
        [Parallel(LATE, 4)],
        [Parallel(LATE, 4, as_completed=True)],
        [Map(Spec(LATE.kind, "wide", max_concurrency=4))],
        [Parallel(Spec(Map(LATE), "map"), 4)],
        [Spread(), wide(Choice((Case(YES, LATE),)))],
        [Spread(), wide(Timeout(LATE, 3600.0))],
        [Spread(), wide(Retry(LATE))],
        [Spread(), wide(Named("saved"))],
    ],
    ids=lambda steps: "-".join(type(step.kind if isinstance(step, Spec) else step).__name__ for step in steps),
)
async def test_a_state_sees_values_in_the_order_of_the_inputs_however_many_are_worked_on(
    steps: Sequence[Kind | Spec],
) -> None:
    value: Json = [[1], [2], [3]] if "map" in str(steps) else [1, 2, 3]
    assert await seen_in(steps, value) == [(1, 0), (2, 1), (3, 2)]


def unavailable() -> Unavailable:
    return Unavailable(Reason.PROVIDER_OVERLOADED, "busy", retry_after_s=0.0)


def failing_on_one(times: int, outputs: Sequence[Json] = ()) -> NamedStep:
    """Passes its value on; of 1, gives `outputs` and fails so many times."""

    def function(value: Json, facts: Facts) -> Iterator[Json]:
        if value == 1 and facts.attempt <= times:
            yield from outputs
            raise unavailable()
        yield value

    return NamedStep("flaky", function, quick=True, takes_facts=True)


FLAKY = Spec(Compose((MEMORY, Spec(Named("late"), "late"), Spec(Named("flaky"), "flaky"))), "inner")


async def test_an_attempt_that_fails_takes_nothing_back_of_what_other_inputs_left() -> None:
    again = Retry(FLAKY, initial_delay_s=0.0)
    seen = await seen_in([Spread(), wide(again)], [1, 2, 3, 4], failing_on_one(1))
    assert seen == [(1, 0), (1, 0), (2, 1), (3, 2), (4, 3)]


@pytest.mark.parametrize("emitted", Emitted)
async def test_what_fails_for_good_without_a_value_leaves_the_state_as_it_was(emitted: Emitted) -> None:
    again = Map(Spec(Retry(FLAKY, max_attempts=2, initial_delay_s=0.0, emitted=emitted), "retry"))
    assert await seen_in([again], [1, 2], failing_on_one(9)) == [(1, 0), (1, 0), (2, 0)]


async def test_a_value_that_was_held_back_and_never_given_leaves_no_state() -> None:
    again = Retry(FLAKY, max_attempts=2, initial_delay_s=0.0, emitted=Emitted.BUFFER)
    assert await seen_in([Spread(), again], [1, 2], failing_on_one(9, ["a"])) == [(1, 0), (1, 0), (2, 0)]


async def test_a_value_that_was_given_keeps_its_state_though_a_failure_follows() -> None:
    again = Retry(FLAKY, max_attempts=2, initial_delay_s=0.0)
    assert await seen_in([Spread(), again], [1, 2], failing_on_one(9, ["a"])) == [(1, 0), (2, 1)]


async def test_what_is_cut_off_without_a_value_leaves_the_state_as_it_was() -> None:
    memory, is_stuck = Memory(0), asyncio.Event()

    async def stuck(given: Input) -> Results:
        memory.state = 1
        is_stuck.set()
        await asyncio.Event().wait()
        yield given.value

    said = Retry(None)
    meter = Meter(Spec(said, "retry"), "retry", watch=None, max_values=1)
    policy = Policy(said, None, None, Budget(9), lambda _: 2, as_json, Limits())
    results = retry(stuck, policy, meter, [memory])(Input((), 1))
    reading = asyncio.ensure_future(anext(results))
    await is_stuck.wait()
    assert memory.state == 1
    reading.cancel()
    await asyncio.wait([reading])
    assert memory.state == 0
