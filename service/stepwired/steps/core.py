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
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

from stepwired.errors import Failure, Reason, Unavailable
from stepwired.events import Json
from stepwired.steps.results import Item, Value

T = TypeVar("T")

#: What a step makes, in order. Closing it ends the step at once.
Results = AsyncGenerator[Value | Failure, None]

#: One value in, in its place; none, one or many results out. A `Failure` that it raises stands behind its last result.
Step = Callable[["Input"], Results]

#: Results in their places, in the order of their paths.
Stream = AsyncGenerator[Item, None]

#: A stream in, a stream out. Failures pass through untouched, in their places.
Stage = Callable[[Stream], Stream]


@dataclass(frozen=True, slots=True)
class Input:
    """One value that a step is run on."""

    path: tuple[int, ...]
    """Its place among the inputs of the step: where it came from."""

    value: Value


class RunEndedError(Exception):
    """Ends a whole run, from anywhere within it. No `Failure`, so that no stage takes it for an item's."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


@dataclass(frozen=True, slots=True)
class _End:
    """Stands behind the last item of a stream, with what ended it if it did not come to its end."""

    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class _Beside(Generic[T]):
    """An item that was inserted, and so takes none of the room of those that were read."""

    item: T


class Ahead(Generic[T]):
    """Reads a stream in a task of its own, at most `size` items ahead of whoever reads this.

    Reading begins at once. What the stream raises is raised here, behind its last item.
    """

    def __init__(self, stream: AsyncGenerator[T, None], size: int) -> None:
        self._entries: asyncio.Queue[T | _Beside[T] | _End] = asyncio.Queue()
        self._room = asyncio.Semaphore(size)
        self._task = asyncio.create_task(self._read(stream))
        self._is_cancelled = False
        self.inserted_count = 0
        """Inserted items that nobody has read yet."""

    async def _read(self, stream: AsyncGenerator[T, None]) -> None:
        # Holds for a stream that is cancelled by something within it: its reader must not wait for ever.
        end = _End(Unavailable(Reason.INTERNAL_CANCELLED, "the server cancelled its own work; try again"))
        try:
            async with aclosing(stream):
                async for item in stream:
                    await self._room.acquire()
                    self._entries.put_nowait(item)
            end = _End()
        except Exception as error:  # noqa: BLE001  raised again where the stream is read
            end = _End(error)
        finally:
            self._entries.put_nowait(end)

    def insert(self, item: T) -> None:
        """Put `item` behind those that wait, without waiting for room."""
        self.inserted_count += 1
        self._entries.put_nowait(_Beside(item))

    def stop(self, error: Exception) -> None:
        """Stop reading the stream; raise `error` behind what was read so far."""
        self._cancel()
        self._entries.put_nowait(_End(error))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        entry = await self._entries.get()
        if isinstance(entry, _End):
            self._entries.put_nowait(entry)  # who reads on finds the end again, and does not wait forever
            raise entry.error or StopAsyncIteration
        if isinstance(entry, _Beside):
            self.inserted_count -= 1
            return entry.item
        self._room.release()
        return entry

    async def aclose(self) -> None:
        """Stop reading and wait until the stream is closed."""
        self._cancel()
        await asyncio.wait([self._task])

    def _cancel(self) -> None:
        if not self._is_cancelled:  # a second time would cut short what the stream does to end well
            self._is_cancelled = True
            self._task.cancel()


def each(step: Step, *, max_concurrency: int = 1, buffer: int = 1) -> Stage:
    """Run `step` on each value, and give all its results, in the order of the values.

    Args:
        step: What to run.
        max_concurrency: Values that are worked on at once, 1 or more. The results of the first of them are given
            as they come; those of the others wait for their turn.
        buffer: Results that may wait for each of those others, 1 or more.
    """
    if max_concurrency == 1:
        return lambda stream: _one_by_one(step, stream)
    return lambda stream: _side_by_side(step, stream, max_concurrency, buffer)


async def _one_by_one(step: Step, stream: Stream) -> Stream:
    async with aclosing(stream):
        async for item in stream:
            async with aclosing(_outputs(step, item)) as outputs:
                async for output in outputs:
                    yield output


async def _side_by_side(step: Step, stream: Stream, max_concurrency: int, buffer: int) -> Stream:
    permits = asyncio.Semaphore(max_concurrency)
    working: deque[Ahead[Item]] = deque()

    async def start() -> AsyncGenerator[Ahead[Item], None]:
        async with aclosing(stream):
            while True:
                await permits.acquire()  # before the next value is taken, so that none waits in here
                try:
                    item = await anext(stream)
                except StopAsyncIteration:
                    return
                working.append(Ahead(_outputs(step, item), buffer))
                yield working[-1]

    # The permits bound how many are started; the queue never has to.
    started = Ahead(start(), max_concurrency)
    try:
        async for outputs in started:
            async for output in outputs:
                yield output
            await working.popleft().aclose()
            permits.release()
    finally:
        await started.aclose()  # first, so that nothing new starts
        await close_all(working)


async def _outputs(step: Step, item: Item) -> Stream:
    """Give the results of one input, in their places. A failure is its own, and starts nothing."""
    if isinstance(item.result, Failure):
        yield item
        return
    index = 0
    try:
        async with aclosing(step(Input(item.path, item.result))) as results:
            async for result in results:
                yield Item((*item.path, index), result)
                index += 1
    except Failure as failure:
        yield Item((*item.path, index), failure)


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

    def add(self, value: Value) -> None:
        """Put `value` at the end. May raise a `Failure`, which then takes the list's place."""

    def whole(self) -> Json:
        """The list. May raise a `Failure` too."""


def gather(new: Callable[[], Gathering]) -> Stage:
    """Wait for all values and give them as one list, in order. Failures pass, and do not enter it.

    The list stands behind everything that was read: its path is that of the last item, and 0.
    """

    async def run(stream: Stream) -> Stream:
        gathering = new()
        last: tuple[int, ...] = ()
        gathered: Value | Failure = None
        async with aclosing(stream):
            async for item in stream:
                last = item.path
                if isinstance(item.result, Failure):
                    yield item
                elif not isinstance(gathered, Failure):
                    try:
                        gathering.add(item.result)
                    except Failure as failure:
                        gathered = failure
        if not isinstance(gathered, Failure):
            try:
                gathered = gathering.whole()
            except Failure as failure:
                gathered = failure
        yield Item((*last, 0), gathered)

    return run


def alone(stage: Stage) -> Step:
    """Make a step of a stage: its input is the only item in the stream."""

    async def run(given: Input) -> Results:
        async with aclosing(stage(items([given]))) as outputs:
            async for output in outputs:
                yield output.result

    return run


async def items(inputs: Iterable[Input]) -> Stream:
    """Give values in their places."""
    for given in inputs:
        yield Item(given.path, given.value)


async def close_all(streams: Iterable[Ahead[T]]) -> None:
    """Close streams side by side, so that many take no longer than the slowest."""
    await asyncio.gather(*(stream.aclose() for stream in streams))
