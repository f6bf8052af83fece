"""Functions that block, end the program, or take their time over their clean-up: whom they hold up."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing

import pytest

from stepwired.errors import StepFailed
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps.core import Input, Step
from stepwired.steps.named import as_step, step
from stepwired.steps.remote import Facts
from stepwired.steps.threads import Threads
from tests.steps.conftest import as_json


def made_of(function: Callable[[Json], object], threads: Threads | None = None, *, quick: bool = False) -> Step:
    def facts(given: Input) -> Facts:
        return Facts("r", "steps[0]", given.path)

    return as_step(step("s", quick=quick)(function), as_json, threads or Threads(2), Limits(), facts)


def leaves(value: Json) -> None:
    match value:
        case "exit":
            sys.exit(3)
        case "interrupt":
            raise KeyboardInterrupt
        case "cancel":
            raise asyncio.CancelledError


def plain(value: Json) -> Json:
    leaves(value)
    return value


def many(value: Json) -> Iterator[Json]:
    yield 1
    leaves(value)


async def waiting(value: Json) -> Json:
    await asyncio.sleep(0)
    leaves(value)
    return value


async def waiting_many(value: Json) -> AsyncIterator[Json]:
    yield 1
    leaves(value)


@pytest.mark.parametrize("value", ["exit", "interrupt", "cancel"])
@pytest.mark.parametrize(
    ("function", "quick"),
    [(plain, False), (plain, True), (many, False), (many, True), (waiting, False), (waiting_many, False)],
)
async def test_a_function_that_ends_the_program_fails_its_item_and_ends_nothing(
    function: Callable[[Json], object], quick: bool, value: Json
) -> None:
    run = made_of(function, quick=quick)

    async def read() -> None:
        async with aclosing(run(Input((), value))) as made:
            async for _ in made:
                pass

    with pytest.raises(StepFailed) as caught:
        await asyncio.create_task(read())
    assert caught.value.metadata["errorType"] == "RuntimeError"


async def test_a_function_that_waits_can_be_cancelled() -> None:
    began = asyncio.Event()

    async def wait(_: Json) -> Json:
        began.set()
        await asyncio.Event().wait()
        return None

    async def read() -> None:
        async with aclosing(made_of(wait)(Input((), 1))) as made:
            await anext(made)

    reading = asyncio.create_task(read())
    await began.wait()
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()


class Held:
    """A generator that waits where it is told to, and says which thread cleaned up."""

    def __init__(self, *, in_the_middle: bool = False, at_the_end: bool = False) -> None:
        self._waits = (in_the_middle, at_the_end)
        self.waits = threading.Event()
        self.go_on = threading.Event()
        self.closed_by: list[threading.Thread] = []
        self.is_closed = threading.Event()

    def wait(self) -> None:
        self.waits.set()
        assert self.go_on.wait(30)

    def values(self, _: Json) -> Iterator[Json]:
        try:
            yield 1
            if self._waits[0]:
                self.wait()
            yield 2
        finally:
            if self._waits[1]:
                self.wait()
            self.closed_by.append(threading.current_thread())
            self.is_closed.set()


async def until(event: threading.Event) -> None:
    """Wait for what a thread tells, with the loop free for everybody else."""
    assert await asyncio.to_thread(event.wait, 30)


async def test_a_generator_that_is_left_is_closed_in_a_thread_and_waited_for() -> None:
    held = Held()
    async with aclosing(made_of(held.values)(Input((), 0))) as made:
        assert await anext(made) == 1
    assert len(held.closed_by) == 1
    assert held.closed_by[0] is not threading.main_thread()


async def test_the_clean_up_of_a_generator_holds_up_nobody_else() -> None:
    held = Held(at_the_end=True)

    async def leave() -> None:
        async with aclosing(made_of(held.values)(Input((), 0))) as made:
            await anext(made)

    leaving = asyncio.create_task(leave())
    await until(held.waits)  # on the loop it would wait for what comes below
    assert not leaving.done()
    held.go_on.set()
    await asyncio.wait_for(leaving, 30)
    assert len(held.closed_by) == 1


async def test_a_run_that_is_cancelled_does_not_wait_for_the_clean_up() -> None:
    held, read = Held(at_the_end=True), asyncio.Event()

    async def stay() -> None:
        async with aclosing(made_of(held.values)(Input((), 0))) as made:
            await anext(made)
            read.set()
            await asyncio.Event().wait()

    staying = asyncio.create_task(stay())
    await read.wait()
    staying.cancel()
    await asyncio.wait_for(asyncio.wait([staying]), 30)
    assert staying.cancelled()
    assert not held.closed_by
    held.go_on.set()
    await until(held.is_closed)
    assert held.closed_by[0] is not threading.main_thread()


async def test_a_generator_at_work_is_closed_behind_that_and_hides_no_cancel() -> None:
    held, threads = Held(in_the_middle=True), Threads(1)

    async def read() -> None:
        async with aclosing(made_of(held.values, threads)(Input((), 0))) as made:
            async for _ in made:
                pass

    reading = asyncio.create_task(read())
    await until(held.waits)
    reading.cancel()
    await asyncio.wait_for(asyncio.wait([reading]), 30)
    assert reading.cancelled()
    assert not held.closed_by
    held.go_on.set()
    await until(held.is_closed)
    assert held.closed_by[0] is not threading.main_thread()
    assert await asyncio.wait_for(threads.call(lambda: 7), 30) == 7


async def test_a_generator_that_waits_for_room_when_it_is_cancelled_is_closed_once_there_is_some() -> None:
    held, other, threads = Held(), Held(in_the_middle=True), Threads(1)
    read, go_on = asyncio.Event(), asyncio.Event()

    async def stay() -> None:
        async with aclosing(made_of(held.values, threads)(Input((), 0))) as made:
            await anext(made)
            read.set()
            await go_on.wait()
            await anext(made)

    staying = asyncio.create_task(stay())
    await read.wait()
    blocking = asyncio.create_task(threads.call(other.wait))
    await until(other.waits)
    go_on.set()
    await asyncio.sleep(0)
    staying.cancel()
    await asyncio.wait_for(asyncio.wait([staying]), 30)
    assert not held.closed_by
    other.go_on.set()
    await blocking
    await until(held.is_closed)
    assert await asyncio.wait_for(threads.call(lambda: 7), 30) == 7


async def test_a_clean_up_that_fails_where_nobody_waits_is_told_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    threads = Threads(1)

    def fails() -> None:
        raise ValueError("the password is xyzzy")

    threads.leave(fails)
    await threads.call(lambda: None)
    assert "ValueError" in caplog.text
    assert "xyzzy" not in caplog.text
    assert threads.free_count == 1
