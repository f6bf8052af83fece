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
from stepwired.steps.named import BrokenStepError, NamedStep, as_step, discover, step
from tests.steps.conftest import as_json


async def results(named: NamedStep, value: Json) -> list[object]:
    async with aclosing(as_step(named, as_json, 32)(value)) as made:
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


async def test_the_text_of_a_foreign_exception_goes_to_the_log_and_not_to_the_caller(
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
    assert "xyzzy" in caplog.text


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
