"""Steps written in Python: every colour of function, what may go wrong in one, and how they are found."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from importlib.metadata import EntryPoint

import pytest

from stepwired.errors import Failure, Reason, StepFailed, Throttled
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps.core import Input
from stepwired.steps.named import BrokenStepError, NamedStep, as_step, discover, step
from stepwired.steps.remote import Facts
from stepwired.steps.threads import Threads
from tests.steps.conftest import as_json


def facts(given: Input) -> Facts:
    return Facts("r", "steps[0]", given.path)


async def results(named: NamedStep, value: Json, limits: Limits | None = None) -> list[object]:
    run = as_step(named, as_json, Threads(2), limits or Limits(), facts)
    async with aclosing(run(Input((), value))) as made:
        return [result async for result in made]


def plain(value: Json) -> Json:
    return value


def plain_many(value: Json) -> Iterator[Json]:
    yield value
    yield threading.current_thread() is threading.main_thread()


async def waiting(value: Json) -> Json:
    await asyncio.sleep(0)
    return value


async def waiting_many(value: Json) -> AsyncIterator[Json]:
    yield value
    await asyncio.sleep(0)
    yield value


@pytest.mark.parametrize(
    ("function", "quick", "wanted"),
    [
        (plain, False, [1]),
        (plain, True, [1]),
        (plain_many, False, [1, False]),
        (plain_many, True, [1, True]),
        (waiting, False, [1]),
        (waiting_many, False, [1, 1]),
    ],
)
async def test_a_function_gives_one_value_and_a_generator_many(
    function: Callable[[Json], object], quick: bool, wanted: list[Json]
) -> None:
    assert await results(step("s", quick=quick)(function), 1) == wanted


async def test_the_text_of_a_foreign_exception_is_told_to_nobody_and_its_place_to_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @step("s")
    def leaky(value: Json) -> Json:
        raise ValueError("the password is xyzzy")

    with caplog.at_level(logging.WARNING), pytest.raises(StepFailed) as caught:
        await results(leaky, 1)
    assert caught.value.reason is Reason.STEP_EXECUTION_FAILED
    assert caught.value.metadata["errorType"] == "ValueError"
    assert "xyzzy" not in str(caught.value)
    assert "xyzzy" not in caplog.text  # which may hold what a user wrote
    assert f"{__file__}:" in caplog.text


async def test_a_failure_that_a_step_raises_on_purpose_stays_what_it_is() -> None:
    @step("s")
    async def full(value: Json) -> Json:
        raise Throttled(Reason.STEP_LIMIT_EXCEEDED, "enough")

    with pytest.raises(Throttled, match="enough"):
        await results(full, 1)


@pytest.mark.parametrize("value", [float("nan"), 2**53, "\ud800", {"a": object()}, {1: 2}, [[[]]] and "a\0b"])
async def test_a_value_that_json_cannot_say_is_refused(value: object) -> None:
    @step("s", quick=True)
    def odd(_: Json) -> object:
        return value

    with pytest.raises(Failure) as caught:
        await results(odd, 1)
    assert caught.value.reason is Reason.STEP_OUTPUT_INVALID


def no_match(value: Json) -> Json:
    return next(each for each in (1, 2) if each == value)


def no_match_on_the_way(value: Json) -> Iterator[Json]:
    yield 1
    yield no_match(value)


async def no_match_awaited(value: Json) -> Json:
    return no_match(value)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("function", [no_match, no_match_on_the_way, no_match_awaited])
async def test_a_stray_stop_iteration_fails_its_item_and_does_not_hang_the_run(
    function: Callable[[Json], object], quick: bool
) -> None:
    with pytest.raises(StepFailed) as caught:
        await asyncio.wait_for(results(step("s", quick=quick)(function), 7), 5)
    assert caught.value.metadata["errorType"] == "RuntimeError"


async def test_a_value_that_is_too_large_fails_its_item() -> None:
    @step("s", quick=True)
    def large(_: Json) -> Json:
        return ["x" * 10] * 10

    with pytest.raises(Throttled) as caught:
        await results(large, 1, Limits(step_value_bytes=100))
    assert caught.value.metadata == {"limitName": "step_value_bytes", "limit": "100"}


async def test_a_generator_that_is_left_is_closed() -> None:
    closed = threading.Event()

    @step("s")
    def held(_: Json) -> Iterator[Json]:
        try:
            yield 1
            yield 2
        finally:
            closed.set()

    run = as_step(held, as_json, Threads(2), Limits(), facts)
    async with aclosing(run(Input((), 0))) as made:
        await anext(made)
    assert closed.is_set()


async def test_a_function_that_blocks_is_left_behind_and_takes_a_place_until_it_returns() -> None:
    threads, go_on, blocked = Threads(1), threading.Event(), threading.Event()

    def block() -> None:
        blocked.set()
        assert go_on.wait(30)

    waiting = asyncio.create_task(threads.call(block))
    while not blocked.is_set():  # noqa: ASYNC110  a thread has no way to tell this loop before it is done
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    behind = asyncio.create_task(threads.call(lambda: 7))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not behind.done()
    go_on.set()
    assert await asyncio.wait_for(behind, 5) == 7


@step("versioned", version="1.9")
def older(value: Json) -> Json:
    """The older one."""
    return "1.9"


@step("versioned", version="1.10")
def newer(value: Json) -> Json:
    """The newer one."""
    return "1.10"


def entry(name: str) -> EntryPoint:
    return EntryPoint(name, f"{__name__}:{name}", "stepwire.steps")


def test_the_highest_version_comes_first_by_its_numbers() -> None:
    found = discover([entry("older"), entry("newer")])
    assert list(found["versioned"]) == ["1.10", "1.9"]
    assert found["versioned"]["1.9"].description == "The older one."


@pytest.mark.parametrize("entries", [["plain"], ["missing"], ["older", "older"]])
def test_a_step_that_does_not_load_is_named_at_start(entries: list[str]) -> None:
    with pytest.raises(BrokenStepError, match=r"versioned@1\.9|step (plain|missing) of unknown"):
        discover([entry(name) for name in entries])


def test_our_own_steps_are_found_through_the_same_door() -> None:
    assert {"upper", "lower", "lines", "join", "length"} <= set(discover())
    assert discover()["upper"]["1"].provider == "builtin"
