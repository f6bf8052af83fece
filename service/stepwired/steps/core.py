"""The algebra of steps: what a step is, how steps are joined, and how far one may run ahead of the next.

A **step** turns one value into a stream of results, each a value or the failure that stands in its place. A
**stage** turns one stream of items into another: it is what a step becomes when it is given many inputs.

    each(step)          a stage: the results of `step` for each value, in order (the bind of the list monad)
    chain([s, t])       a stage: `t` after `s`, side by side, a bounded queue between them
    gather(new)         a stage: all values as one list
    alone(stage)        a step: the stage on a stream of one item

Whoever opens a stream closes it, and a stream that is closed closes the one it reads. So a run that is left
ends from its last step up to its first, and no task outlives it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Protocol

import msgspec

from stepwired.errors import Failure
from stepwired.events import Json
from stepwired.steps.ahead import Ahead
from stepwired.steps.results import EVERYWHERE, Item, Placed, Scope, Value

#: What a step makes, in order. Closing it ends the step at once.
Results = AsyncGenerator[Value | Failure | Placed, None]

#: One value in, in its place; none, one or many results out. A `Failure` that it raises stands behind its last result.
Step = Callable[["Input"], Results]

#: Results in their places, in the order of their paths.
Stream = AsyncGenerator[Item, None]

_TURN = 256
"""Values that are there already, of which so many are given in one turn of the event loop."""

#: A stream in, a stream out. Failures pass through untouched, in their places.
Stage = Callable[[Stream], Stream]


class Input(msgspec.Struct, frozen=True):
    """One value that a step is run on."""

    path: tuple[int, ...]
    """Its place among the inputs of the step: where it came from."""

    value: Value
    scope: Scope = EVERYWHERE


class RunEndedError(Exception):
    """Ends a whole run, from anywhere within it. No `Failure`, so that no stage takes it for an item's."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def each(step: Step) -> Stage:
    """Run `step` on each value, and give all its results, in the order of the values."""

    async def run(stream: Stream) -> Stream:
        async with aclosing(stream):
            async for item in stream:
                async with aclosing(outputs(step, item)) as made:
                    async for output in made:
                        yield output

    return run


async def outputs(step: Step, item: Item) -> Stream:
    """Give the results of one input, in their places. A failure is its own, and starts nothing."""
    if isinstance(item.result, Failure):
        yield item
        return
    path, scope = item.path, item.scope
    next_place = 0
    try:
        async with aclosing(step(Input(path, item.result, scope))) as results:
            async for result in results:
                if isinstance(result, Placed):
                    next_place = max(next_place, result.path[0] + 1)
                    yield Item(path + result.path, result.result, scope)
                else:
                    yield Item((*path, next_place), result, scope)
                    next_place += 1
    except Failure as failure:
        yield Item((*path, next_place), failure, scope)


def chain(stages: Sequence[Stage], buffers: Sequence[int]) -> Stage:
    """Run each stage on what the one before it gives. They run side by side; no stages change nothing.

    Args:
        stages: First to last.
        buffers: For each stage, how many of its items may wait for the next, 1 or more. That of the last is unused.
    """

    def joined(stream: Stream) -> Stream:
        for index, stage in enumerate(stages):
            stream = stage(stream if index == 0 else _read_ahead(stream, buffers[index - 1]))
        return stream

    return joined


async def _read_ahead(stream: Stream, size: int) -> Stream:
    async with aclosing(Ahead(stream, size)) as items:
        async for item in items:
            yield item


class Gathering(Protocol):
    """A list that is being made."""

    def add(self, path: tuple[int, ...], value: Value) -> None:
        """Take a value and its place. May raise a `Failure`, which then takes the list's place."""

    def whole(self) -> Json:
        """The list, in the order of the places. May raise a `Failure` too."""


def gather(new: Callable[[], Gathering]) -> Stage:
    """Wait for all values and give them as one list, in order. Failures pass, and do not enter it.

    The list stands behind everything that was read: its path is the greatest of all items, and 0.
    """

    async def run(stream: Stream) -> Stream:
        gathering = new()
        last: Item = Item((), None)
        gathered: Value | Failure = None
        async with aclosing(stream):
            async for item in stream:
                if item.path >= last.path:
                    last = item
                if isinstance(item.result, Failure):
                    yield item
                elif not isinstance(gathered, Failure):
                    try:
                        gathering.add(item.path, item.result)
                    except Failure as failure:
                        gathered = failure
        if not isinstance(gathered, Failure):
            try:
                gathered = gathering.whole()
            except Failure as failure:
                gathered = failure
        yield Item((*last.path, 0), gathered, last.scope)

    return run


def alone(stage: Stage, *, is_placed: bool = False) -> Step:
    """Make a step of a stage: its input is the only item in the stream.

    Args:
        stage: The stage.
        is_placed: Its results keep their places, because they do not come in order. Else they are counted anew.
    """

    async def run(given: Input) -> Results:
        async with aclosing(stage(items([given]))) as outputs:
            async for output in outputs:
                yield Placed(_below(given.path, output.path), output.result) if is_placed else output.result

    return run


def _below(path: tuple[int, ...], output: tuple[int, ...]) -> tuple[int, ...]:
    """The place of an output below that of its input. A list gathered of nothing has none, and begins at 0."""
    depth = len(path)
    return output[depth:] if len(output) > depth and output[:depth] == path else output


async def over(stage: Stage, values: Sequence[Value], given: Input, *, is_placed: bool) -> Results:
    """Run a stage on the items of a list, which is the value of `given`.

    Args:
        stage: The stage.
        values: The list.
        given: Where it came from.
        is_placed: The results say which item they are of. Else they are counted, all items together.
    """
    depth = len(given.path)
    inputs = (Input((*given.path, index), value, given.scope) for index, value in enumerate(values))
    async with aclosing(stage(items(inputs))) as outputs:
        async for output in outputs:
            yield Placed(output.path[depth:], output.result) if is_placed else output.result


async def items(inputs: Iterable[Input]) -> Stream:
    """Give values in their places; now and then let others run, since a step may make nothing of any of them."""
    for index, given in enumerate(inputs):
        if index % _TURN == _TURN - 1:
            await asyncio.sleep(0)
        yield Item(given.path, given.value, given.scope)
