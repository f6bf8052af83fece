"""The algebra against a plain model: lists of values, functions from a value to a list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwired.errors import Failure, InvalidRequest, Reason
from stepwired.events import Json
from stepwired.steps import core
from stepwired.steps.ahead import Ahead
from stepwired.steps.core import Input, Results, Stage, Step, Stream, alone, chain, gather, items
from stepwired.steps.parallel import side_by_side
from stepwired.steps.results import Item, Placed, Value


def each(step: Step, *, max_concurrency: int = 1, buffer: int = 1) -> Stage:
    """As a build does: side by side where that is wanted."""
    if max_concurrency == 1:
        return core.each(step)
    return side_by_side(step, max_concurrency=max_concurrency, buffer=buffer)


Plain = Callable[[int], list[int]]
"""What the model says a step does: an integer to integers. A negative one stands for a failure."""


def refusal(value: int) -> Failure:
    return InvalidRequest(Reason.STEP_INPUT_INVALID, str(value))


def a_step(plain: Plain) -> Step:
    async def run(given: Input) -> Results:
        assert isinstance(given.value, int)
        for output in plain(given.value):
            await asyncio.sleep(0)  # lets the other stages in between
            yield refusal(output) if output < 0 else output

    return run


def table(rows: list[list[int]]) -> Plain:
    return lambda value: rows[value % len(rows)] if rows else []


#: Steps by what they make of each value; some make nothing, some many, some failures.
plain_steps = st.lists(st.lists(st.integers(-3, 9), max_size=3), min_size=1, max_size=4).map(table)
inputs = st.lists(st.integers(0, 9), max_size=5)
concurrency = st.integers(1, 4)


def expected(plains: list[Plain], values: list[int]) -> list[int]:
    """The same composition of lists; failures pass through."""
    for plain in plains:
        values = [output for value in values for output in ([value] if value < 0 else plain(value))]
    return values


async def outputs(stage: Stage, values: list[int]) -> list[int]:
    async with aclosing(stage(placed(values))) as stream:
        return [number(item) async for item in stream]


def number(item: Item) -> int:
    if isinstance(item.result, Failure):
        return int(str(item.result))
    assert isinstance(item.result, int)
    return item.result


class Numbers:
    """What `gather` makes here: a list of numbers, of at most three."""

    def __init__(self) -> None:
        self.values: list[Json] = []

    def add(self, path: tuple[int, ...], value: Value) -> None:
        assert isinstance(value, int)
        if len(self.values) == 3:
            raise refusal(-9)
        self.values.append(value)

    def whole(self) -> Json:
        return self.values


def placed(values: Sequence[int]) -> Stream:
    return items(Input((index,), value) for index, value in enumerate(values))


def chained(stages: list[Stage]) -> Stage:
    return chain(stages, [1] * len(stages))


@given(st.lists(plain_steps, max_size=4), inputs, concurrency, st.integers(1, 3))
def test_a_chain_gives_what_lists_give_in_their_order(
    plains: list[Plain], values: list[int], max_concurrency: int, buffer: int
) -> None:
    stages = [each(a_step(plain), max_concurrency=max_concurrency, buffer=buffer) for plain in plains]
    assert asyncio.run(outputs(chain(stages, [buffer] * len(stages)), values)) == expected(plains, values)


@given(plain_steps, plain_steps, plain_steps, inputs)
def test_grouping_does_not_matter(a: Plain, b: Plain, c: Plain, values: list[int]) -> None:
    one, two, three = (each(a_step(plain)) for plain in (a, b, c))
    flat = asyncio.run(outputs(chained([one, two, three]), values))
    assert asyncio.run(outputs(chained([one, chained([two, three])]), values)) == flat
    assert asyncio.run(outputs(chained([chained([one, two]), three]), values)) == flat


@given(inputs)
def test_a_chain_of_nothing_changes_nothing(values: list[int]) -> None:
    assert asyncio.run(outputs(chained([]), values)) == values


@given(plain_steps, st.integers(0, 9))
def test_binding_one_value_is_calling_the_step(plain: Plain, value: int) -> None:
    async def called() -> list[int]:
        async with aclosing(alone(each(a_step(plain)))(Input((), value))) as results:
            return [number(Item((), result)) async for result in results if not isinstance(result, Placed)]

    assert asyncio.run(called()) == plain(value)


@given(plain_steps)
def test_no_values_mean_no_calls(plain: Plain) -> None:
    calls: list[int] = []

    def counting(value: int) -> list[int]:
        calls.append(value)
        return plain(value)

    assert asyncio.run(outputs(each(a_step(counting)), [])) == []
    assert calls == []


@given(st.lists(plain_steps, min_size=1, max_size=3), st.integers(0, 9), concurrency)
def test_results_come_in_the_order_of_their_paths(plains: list[Plain], value: int, max_concurrency: int) -> None:
    async def paths() -> list[tuple[int, ...]]:
        stages = [each(a_step(plain), max_concurrency=max_concurrency) for plain in plains]
        async with aclosing(chained(stages)(items([Input((), value)]))) as stream:
            return [item.path async for item in stream]

    found = asyncio.run(paths())
    assert found == sorted(found)
    assert len(set(found)) == len(found)


async def test_a_raised_failure_stands_behind_what_was_made_and_the_next_input_goes_on() -> None:
    async def run(given: Input) -> Results:
        yield given.value
        if given.value == 1:
            raise refusal(-1)

    assert await outputs(each(run), [0, 1, 2]) == [0, 1, -1, 2]


async def test_a_raised_failure_stands_behind_results_that_place_themselves() -> None:
    async def run(given: Input) -> Results:
        for path in ((0, 1), (3, 0), (1, 0)):
            yield Placed(path, given.value)
        yield given.value
        raise refusal(-1)

    async with aclosing(each(run)(placed([7]))) as stream:
        found = [(item.path, number(item)) async for item in stream]
    assert found == [((0, 0, 1), 7), ((0, 3, 0), 7), ((0, 1, 0), 7), ((0, 4), 7), ((0, 5), -1)]


async def test_gather_waits_for_all_and_lets_failures_pass() -> None:
    stage = chained([each(a_step(table([[1], [-1], [2, 3]]))), gather(Numbers)])
    async with aclosing(stage(placed([0, 1, 2]))) as stream:
        found = [(item.path, item.result) async for item in stream]
    assert [path for path, _ in found] == [(1, 0), (2, 1, 0)]
    assert isinstance(found[0][1], Failure)
    assert found[1][1] == [1, 2, 3]


async def test_no_more_inputs_are_worked_on_at_once_than_allowed() -> None:
    working = most = 0

    async def run(given: Input) -> Results:
        nonlocal working, most
        working += 1
        most = max(most, working)
        for _ in range(5):
            await asyncio.sleep(0)
        yield given.value
        working -= 1

    assert await outputs(each(run, max_concurrency=3), list(range(20))) == list(range(20))
    assert most == 3


async def test_a_value_that_is_late_does_not_hold_back_those_before_it() -> None:
    first_read = asyncio.Event()

    async def run(given: Input) -> Results:
        if given.value == 1:
            await first_read.wait()
        yield given.value

    async with aclosing(each(run, max_concurrency=2)(placed([0, 1]))) as stream:
        assert (await anext(stream)).result == 0
        first_read.set()
        assert (await anext(stream)).result == 1


@pytest.mark.parametrize("max_concurrency", [1, 4])
async def test_a_slow_reader_slows_the_steps(max_concurrency: int) -> None:
    made = 0

    async def endless(_: Input) -> Results:
        nonlocal made
        while True:
            made += 1
            yield made

    stage = chain([each(endless), each(a_step(lambda n: [n]), max_concurrency=max_concurrency)], [1, 1])
    async with aclosing(stage(items([Input((), 0)]))) as stream:
        for _ in range(3):
            await anext(stream)
        for _ in range(100):
            await asyncio.sleep(0)
        assert made <= 3 + 2 * max_concurrency + 4


@pytest.mark.parametrize("max_concurrency", [1, 8])
@pytest.mark.parametrize("read_count", [0, 1, 3])
async def test_leaving_a_stream_closes_every_step_and_leaves_no_task(max_concurrency: int, read_count: int) -> None:
    opened = closed = 0

    async def run(given: Input) -> Results:
        nonlocal opened, closed
        opened += 1
        try:
            yield given.value
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)  # what ends well may take a moment
            closed += 1

    def fanned(_: int) -> list[int]:
        return list(range(20))

    before = asyncio.all_tasks()
    stages = [each(a_step(fanned)), each(run, max_concurrency=max_concurrency), each(run, max_concurrency=2)]
    async with aclosing(chain(stages, [1, 1, 1])(items([Input((), 0)]))) as stream:
        for _ in range(min(read_count, 1)):
            await anext(stream)
    assert asyncio.all_tasks() == before
    assert opened == closed


async def test_an_exception_that_is_no_failure_ends_the_stream_behind_what_was_read() -> None:
    async def run(given: Input) -> Results:
        if given.value == 2:
            raise ZeroDivisionError
        yield given.value

    async with aclosing(chained([each(run), each(a_step(lambda n: [n]))])(placed([0, 1, 2, 3]))) as stream:
        assert [(await anext(stream)).result, (await anext(stream)).result] == [0, 1]
        with pytest.raises(ZeroDivisionError):
            await anext(stream)


async def test_what_is_inserted_takes_no_room_and_keeps_its_place() -> None:
    async with aclosing(Ahead(placed([0, 1]), 1)) as ahead:
        assert (await anext(ahead)).result == 0
        ahead.insert(Item((9,), "beside"))
        assert {(await anext(ahead)).result, (await anext(ahead)).result} == {"beside", 1}
        assert ahead.inserted_count == 0
        with pytest.raises(StopAsyncIteration):
            await anext(ahead)
        with pytest.raises(StopAsyncIteration):
            await anext(ahead)


async def test_a_list_that_cannot_be_made_fails_in_its_place_and_failures_still_pass() -> None:
    stage = chained([each(a_step(table([[1, 2], [3, 4], [-1]]))), gather(Numbers)])
    assert await outputs(stage, [0, 1, 2]) == [-1, -9]


@pytest.mark.parametrize("max_concurrency", [1, 3])
async def test_a_step_that_cancels_itself_is_told_and_does_not_leave_its_reader_waiting(max_concurrency: int) -> None:
    async def run(given: Input) -> Results:
        inner = asyncio.ensure_future(asyncio.sleep(3600))
        inner.cancel()
        await inner
        yield given.value

    async with aclosing(Ahead(each(run, max_concurrency=max_concurrency)(placed([0])), 1)) as ahead:
        with pytest.raises(Failure) as caught:
            await asyncio.wait_for(anext(ahead), 5)
    assert caught.value.reason is Reason.INTERNAL_CANCELLED
