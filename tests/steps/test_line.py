from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from typing import TypeVar

import pytest

from stepwired.errors import Failure, Reason, StepFailed, Unavailable
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps.line import Asked, Dropped, Line
from stepwired.steps.opened import OpenCall
from stepwired.steps.remote import Facts

T = TypeVar("T")

FACTS = Facts("run", "steps[0]", (0,))
LIMITS = Limits(call_outputs=4, call_outputs_bytes=1000, stream_outputs_bytes=5000)


def line_of(limits: Limits = LIMITS) -> Line:
    return Line(limits, lambda: None)


def opened(line: Line, value: Json = None) -> OpenCall:
    """A call that the other side knows of."""
    call = line.open("f", value, FACTS)
    assert isinstance(line.unsent(), Asked)
    return call


async def soon(what: Awaitable[T]) -> T:
    return await asyncio.wait_for(what, 10)


async def everything(call: OpenCall) -> list[Json | Failure]:
    made: list[Json | Failure] = []
    try:
        async for output in call:
            made.append(output)  # noqa: PERF401  what came before a failure counts
    except Failure as failure:
        made.append(failure)
    return made


async def turns() -> None:
    """Let whatever can run, run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_call_is_asked_and_its_outputs_come_in_order() -> None:
    rung: list[None] = []
    line = Line(LIMITS, lambda: rung.append(None))
    call = line.open("double", 21, replace(FACTS, attempt=3, time_left_s=60))
    asked = line.unsent()
    assert rung
    assert isinstance(asked, Asked)
    assert (asked.function, asked.value, asked.facts.attempt) == ("double", 21, 3)
    assert asked.time_left_s is not None
    assert 0 < asked.time_left_s <= 60
    for value in (1, 2, 3):
        line.output(asked.call_id, value, 8)
    line.finish(asked.call_id)
    assert await soon(everything(call)) == [1, 2, 3]
    assert line.unsent() is None
    assert (line.open_count, line.held_bytes) == (0, 0)


async def test_a_function_that_fails_does_so_behind_its_outputs() -> None:
    line = line_of()
    call = opened(line)
    reading = asyncio.create_task(everything(call))
    await turns()
    line.output(call.call_id, "first", 8)
    line.finish(call.call_id, StepFailed(Reason.STEP_EXECUTION_FAILED, "no"))
    first, failure = await soon(reading)
    assert first == "first"
    assert isinstance(failure, StepFailed)


async def test_what_is_said_of_calls_that_are_not_open_is_ignored() -> None:
    line = line_of()
    call = opened(line)
    line.finish(call.call_id)
    for call_id in (call.call_id, "no such call", ""):
        assert not line.is_open(call_id)
        line.output(call_id, 1, 8)
        line.finish(call_id)
        line.fail(call_id, StepFailed(Reason.STEP_EXECUTION_FAILED, "no"))
    assert await soon(everything(call)) == []
    assert line.unsent() is None
    assert line.held_bytes == 0


async def test_closing_a_call_tells_the_other_side_once_and_not_what_it_never_heard_of() -> None:
    line = line_of()
    known = opened(line)
    unknown = line.open("f", None, FACTS)
    for call in (known, unknown, known, unknown):
        call.close()
    assert line.unsent() == Dropped(known.call_id)
    assert line.unsent() is None
    assert line.open_count == 0


async def test_closing_a_call_that_was_answered_tells_nobody() -> None:
    line = line_of()
    call = opened(line)
    line.output(call.call_id, 1, 8)
    line.finish(call.call_id)
    call.close()
    assert line.unsent() is None
    assert line.held_bytes == 0
    assert await soon(everything(call)) == []


async def test_a_reader_that_is_cancelled_leaves_nothing_behind() -> None:
    line = line_of()
    called = line.call("f", None, FACTS)
    reading = asyncio.ensure_future(anext(called))
    await turns()
    assert isinstance(line.unsent(), Asked)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert isinstance(line.unsent(), Dropped)
    assert line.open_count == 0
    assert not line._hungry


async def test_a_line_that_is_lost_ends_its_calls_behind_what_they_have_and_later_ones_at_once() -> None:
    line = line_of()
    some, none, unsent = opened(line), opened(line), line.open("f", None, FACTS)
    line.output(some.call_id, 1, 8)
    line.lose(Unavailable(Reason.WORKER_LOST, "gone"))
    later = line.open("f", None, FACTS)
    ends = [await soon(everything(call)) for call in (some, none, unsent, later)]
    assert [[each for each in end if not isinstance(each, Failure)] for end in ends] == [[1], [], [], []]
    assert all(isinstance(end[-1], Failure) and end[-1].reason is Reason.WORKER_LOST for end in ends)
    assert (some.was_answered, none.was_answered) == (True, False)
    assert line.unsent() is None
    assert line.open_count == 0


async def test_the_stream_is_read_no_further_while_its_one_call_is_full() -> None:
    line = line_of()
    call = opened(line)
    for value in range(4):
        await soon(line.room())
        line.output(call.call_id, value, 8)
    room = asyncio.create_task(line.room())
    await turns()
    assert not room.done()
    assert await anext(call) == 0
    await soon(room)


async def test_large_outputs_fill_a_call_before_many_do() -> None:
    line = line_of()
    call = opened(line)
    line.output(call.call_id, "…", 1000)
    room = asyncio.create_task(line.room())
    await turns()
    assert not room.done()
    call.close()
    await soon(room)


async def test_a_full_call_does_not_stand_in_the_way_of_one_that_is_waited_for() -> None:
    line = line_of()
    full, waited_for = opened(line), opened(line)
    for value in range(4):
        line.output(full.call_id, value, 8)
    room = asyncio.create_task(line.room())
    await turns()
    assert not room.done()
    reading = asyncio.ensure_future(anext(waited_for))
    await soon(room)
    line.output(full.call_id, 4, 8)  # what comes of the full one is kept
    await soon(line.room())
    line.output(waited_for.call_id, "here", 8)
    assert await soon(reading) == "here"
    line.finish(full.call_id)
    assert await soon(everything(full)) == [0, 1, 2, 3, 4]


async def test_where_nothing_is_taken_the_call_that_holds_most_fails_and_memory_is_bounded() -> None:
    line = line_of(replace(LIMITS, stalled_reader_s=0.01))
    most, less, waited_for = opened(line), opened(line), opened(line)
    reading = asyncio.ensure_future(anext(waited_for))
    await turns()
    for _ in range(2):
        line.output(less.call_id, "…", 900)
    while line.held_bytes < 5000:
        await soon(line.room())
        line.output(most.call_id, "…", 900)
    await soon(line.room())
    assert line.held_bytes < 5000
    assert line.unsent() == Dropped(most.call_id)
    [failure] = await soon(everything(most))
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.metadata["limitName"]) == (Reason.STEP_LIMIT_EXCEEDED, "stream_outputs_bytes")
    line.output(waited_for.call_id, "here", 8)
    assert await soon(reading) == "here"
    assert await anext(less) == "…"


async def test_a_call_that_was_answered_to_its_end_is_relieved_too() -> None:
    line = line_of(replace(LIMITS, stalled_reader_s=0.01))
    done, waited_for = opened(line), opened(line)
    reading = asyncio.ensure_future(anext(waited_for))
    await turns()
    for _ in range(6):
        line.output(done.call_id, "…", 900)
    line.finish(done.call_id)
    await soon(line.room())
    [failure] = await soon(everything(done))
    assert isinstance(failure, Failure)
    assert failure.reason is Reason.STEP_LIMIT_EXCEEDED
    assert line.unsent() is None
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


async def test_what_cannot_be_sent_is_not_cancelled_either() -> None:
    line = line_of()
    call = opened(line)
    line.fail(call.call_id, StepFailed(Reason.STEP_EXECUTION_FAILED, "too large"), is_sent=False)
    assert line.unsent() is None
    [failure] = await soon(everything(call))
    assert isinstance(failure, StepFailed)


@pytest.mark.parametrize("count", [1, 64])
async def test_cancelling_readers_drops_each_call(count: int) -> None:
    line = line_of()
    reading = [asyncio.ensure_future(anext(line.call("f", index, FACTS))) for index in range(count)]
    await turns()
    asked = [line.unsent() for _ in range(count)]
    for each in reading:
        each.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    dropped = {line.unsent() for _ in range(count)}
    assert dropped == {Dropped(each.call_id) for each in asked if isinstance(each, Asked)}
    assert (line.open_count, line.unsent(), line._hungry) == (0, None, set())
