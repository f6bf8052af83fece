"""Runs that are left, in every kind of step and at every point of its life: nothing of them remains."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from stepwired.errors import Reason, Unavailable
from stepwired.events import Json
from stepwired.steps.named import NamedStep
from stepwired.steps.registry import Registry
from stepwired.steps.remote import Facts
from stepwired.steps.results import ErrorMode, Item, RunEvent
from stepwired.steps.spec import (
    Case,
    Choice,
    Client,
    Compose,
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
    Spread,
    State,
    Take,
    Timeout,
)
from tests.steps.conftest import Functions, Scripted, placed, registry_of


class Held:
    """A step, and a function of the caller, that give one value and then wait for ever; and how many are open."""

    def __init__(self, *, gives: int, many: int = 1) -> None:
        self.gives = gives
        self.many = many
        self.open_count = self.closing_count = 0
        self.all_opened = asyncio.Event()
        self.all_closing = asyncio.Event()
        self.opened = asyncio.Event()
        self.closing = asyncio.Event()
        self.may_close = asyncio.Event()
        self.may_close.set()

    async def values(self, value: Json) -> AsyncGenerator[Json, None]:
        self.open_count += 1
        self.opened.set()
        if self.open_count == self.many:
            self.all_opened.set()
        try:
            for _ in range(self.gives):
                yield value
            await asyncio.Event().wait()
        finally:
            self.closing.set()
            self.closing_count += 1
            if self.closing_count == self.many:
                self.all_closing.set()
            await self.may_close.wait()
            self.open_count -= 1

    def step(self) -> NamedStep:
        async def function(value: Json) -> AsyncGenerator[Json, None]:
            async with aclosing(self.values(value)) as values:
                async for each in values:
                    yield each

        return NamedStep("held", function)

    def call(self, function: str, value: Json, facts: Facts) -> AsyncGenerator[Json, None]:
        return self.values(value)


async def _failing(value: Json) -> Json:
    raise Unavailable(Reason.PROVIDER_OVERLOADED, "busy", retry_after_s=3600.0)


HELD = Spec(Named("held"), "held")
YES = Spec(Javascript("yes"), "yes")

#: Each kind, around a step that never comes to its end or as one.
KINDS: dict[str, Kind] = {
    "named": Named("held"),
    "client": Client("held"),
    "compose": Compose((HELD, Spec(Gather(), "gather"))),
    "compose, last": Compose((HELD, HELD)),
    "map": Map(Spec(Compose((Spec(Spread(), "s"), HELD)), "m")),
    "map, side by side": Map(Spec(Named("held"), "held", max_concurrency=3)),
    "map, as completed": Map(Spec(Named("held"), "held", max_concurrency=3, as_completed=True)),
    "parallel": Parallel(HELD, 64),
    "parallel, as completed": Parallel(HELD, 64, as_completed=True),
    "parallel, failing fast": Parallel(HELD, 64, fail_fast=True),
    "process": Process(pre=HELD, post=YES),
    "filter": Filter(HELD),
    "choice, asked": Choice((Case(HELD, YES),)),
    "choice, chosen": Choice((Case(YES, HELD),)),
    "timeout": Timeout(HELD, 3600.0),
    "retry": Retry(HELD),
    "retry, asked": Retry(Spec(Named("failing"), "failing"), when=HELD),
    "state": State(HELD),
    "take": Compose((HELD, Spec(Take(3), "take"))),
    "script behind": Compose((HELD, YES)),
}


def registry(held: Held, functions: Functions) -> Registry:
    failing = NamedStep("failing", _failing)
    return registry_of(Scripted(), named=[held.step(), failing], functions=functions)


def started(held: Held, functions: Functions, kind: Kind) -> AsyncGenerator[RunEvent, None]:
    value: Json = [[index] for index in range(64)]
    run = registry(held, functions).run
    return run(placed(kind), value, error_mode=ErrorMode.CONTINUE, events=True, run_id="r", client=held)


async def settled(before: set[asyncio.Task[object]]) -> set[asyncio.Task[object]]:
    """The tasks that are left once what is done was let go of."""
    await asyncio.sleep(0)
    return asyncio.all_tasks() - before


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("gives", [0, 1])
async def test_a_run_that_is_cancelled_leaves_nothing(kind: Kind, gives: int) -> None:
    held, functions = Held(gives=gives), Functions({"yes": lambda *_: True})
    before = asyncio.all_tasks()

    async def read() -> None:
        async with aclosing(started(held, functions, kind)) as run:
            async for _ in run:
                pass

    reading = asyncio.create_task(read())
    await asyncio.wait_for(held.opened.wait(), 10)
    for _ in range(20):
        await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()
    assert (held.open_count, functions.open_count) == (0, 0)
    assert not await settled(before)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("read_count", [0, 1, 3])
async def test_a_run_that_is_closed_between_two_events_leaves_nothing(kind: Kind, read_count: int) -> None:
    held, functions = Held(gives=1), Functions({"yes": lambda *_: True})
    before = asyncio.all_tasks()
    async with aclosing(started(held, functions, kind)) as run:
        for _ in range(read_count):
            await asyncio.wait_for(anext(run), 10)
    await run.aclose()  # a second time is no harm
    assert (held.open_count, functions.open_count) == (0, 0)
    assert not await settled(before)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_a_second_cancel_does_not_cut_short_what_is_closing(kind: Kind) -> None:
    held, functions = Held(gives=0), Functions({"yes": lambda *_: True})
    before = asyncio.all_tasks()
    held.may_close.clear()

    async def read() -> None:
        async with aclosing(started(held, functions, kind)) as run:
            async for _ in run:
                pass

    reading = asyncio.create_task(read())
    await asyncio.wait_for(held.opened.wait(), 10)
    reading.cancel()
    await asyncio.wait_for(held.closing.wait(), 10)
    reading.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    held.may_close.set()
    await asyncio.wait([reading])
    for left in await settled(before):
        await asyncio.wait_for(asyncio.wait([left]), 10)
    assert (held.open_count, functions.open_count) == (0, 0)
    assert not await settled(before)


async def test_closing_after_the_end_does_nothing() -> None:
    functions = Functions({"yes": lambda *_: True})
    run = registry(Held(gives=0), functions).run(
        placed(Javascript("yes")), 1, error_mode=ErrorMode.CONTINUE, events=False, run_id="r"
    )
    async with aclosing(run):
        events = [event async for event in run]
    await run.aclose()
    assert sum(isinstance(event, Item) for event in events) == 1
    assert functions.open_count == 0


@pytest.mark.parametrize("as_completed", [False, True])
async def test_sixty_four_silent_children_are_closed_side_by_side(as_completed: bool) -> None:
    held = Held(gives=0, many=64)
    held.may_close.clear()

    async def read() -> None:
        kind = Parallel(HELD, 64, as_completed=as_completed)
        async with aclosing(started(held, Functions({}), kind)) as run:
            async for _ in run:
                pass

    reading = asyncio.create_task(read())
    await asyncio.wait_for(held.all_opened.wait(), 10)
    reading.cancel()
    # None of them may end before all have begun to: were they closed one after the other, this would never come.
    await asyncio.wait_for(held.all_closing.wait(), 10)
    held.may_close.set()
    await asyncio.wait([reading])
    assert held.open_count == 0
