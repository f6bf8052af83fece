"""Runs a step on many values side by side: in the order of the values, or as results come.

    side_by_side(step)      the results of the first value are given as they come; those of others wait for their turn
    as_completed(step)      every result is given as it comes; its path still tells where it belongs

Both take the next value only when there is room to work on it, and stop taking when nobody reads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing

from stepwired.errors import Failure, Reason, Unavailable
from stepwired.steps.ahead import Ahead, End, close_all
from stepwired.steps.core import Stage, Step, Stream, outputs
from stepwired.steps.results import Item


def side_by_side(step: Step, *, max_concurrency: int, buffer: int, fail_fast: bool = False) -> Stage:
    """Run `step` on each value, and give all its results, in the order of the values.

    Args:
        step: What to run.
        max_concurrency: Values that are worked on at once, 1 or more.
        buffer: Results that may wait for each of those whose turn has not come, 1 or more.
        fail_fast: The first failure is the last result: what others have made before it is still given, but they are
            cancelled.
    """

    def run(stream: Stream) -> Stream:
        return _InOrder(step, stream, max_concurrency, buffer, fail_fast).results()

    return run


class _InOrder:
    """A window over one stream: the first value in it is read, the others work ahead."""

    def __init__(self, step: Step, stream: Stream, max_concurrency: int, buffer: int, fail_fast: bool) -> None:
        self._step = step
        self._stream = stream
        self._max_concurrency = max_concurrency
        self._buffer = buffer
        self._fail_fast = fail_fast
        self._permits = asyncio.Semaphore(max_concurrency)
        self._working: deque[Ahead[Item]] = deque()
        self._has_failed = False

    async def results(self) -> Stream:
        # The permits bound how many are started; the queue never has to.
        started = Ahead(self._start(), self._max_concurrency)
        try:
            async for made in started:
                async for output in made:
                    yield output
                    if self._fail_fast and isinstance(output.result, Failure):
                        return
                await self._working.popleft().aclose()
                self._permits.release()
        finally:
            await started.aclose()  # first, so that nothing new starts
            await close_all(self._working)

    async def _start(self) -> AsyncGenerator[Ahead[Item], None]:
        async with aclosing(self._stream):
            while True:
                await self._permits.acquire()  # before the next value is taken, so that none waits in here
                item = await anext(self._stream, None)
                if item is None or self._has_failed:
                    return
                self._working.append(self._begin(outputs(self._step, item)))
                yield self._working[-1]

    def _begin(self, made: Stream) -> Ahead[Item]:
        async def stopping_others() -> Stream:
            async with aclosing(made):
                async for output in made:
                    if isinstance(output.result, Failure):
                        self._has_failed = True
                        for other in self._working:
                            if other is not begun:
                                other.stop()  # what it has made so far can still be read
                    yield output

        begun = Ahead(stopping_others() if self._fail_fast else made, self._buffer)
        return begun


class _EnoughError(Exception):
    """An item has failed, and the others are not wanted any more."""


def as_completed(step: Step, *, max_concurrency: int, buffer: int, fail_fast: bool = False) -> Stage:
    """Run `step` on each value, and give all its results as they come.

    Args:
        step: What to run.
        max_concurrency: Values that are worked on at once, 1 or more.
        buffer: Results of all of them together that may wait, 1 or more.
        fail_fast: The first failure is the last result, and the others are cancelled.
    """

    def run(stream: Stream) -> Stream:
        return _Together(step, stream, max_concurrency, buffer, fail_fast).results()

    return run


class _Together:
    """So many workers over one stream, each of which takes the next value when it is done with one."""

    def __init__(self, step: Step, stream: Stream, max_concurrency: int, buffer: int, fail_fast: bool) -> None:
        self._step = step
        self._stream = stream
        self._max_concurrency = max_concurrency
        self._fail_fast = fail_fast
        self._taking = asyncio.Lock()
        self._ready: asyncio.Queue[Item | End] = asyncio.Queue()
        self._room = asyncio.Semaphore(buffer)
        self._working = 0

    async def results(self) -> Stream:
        # The task group never stands around a `yield`: it would cancel the reader in place of us (PEP 789).
        workers = asyncio.create_task(self._work_all())
        try:
            while not isinstance(item := await self._ready.get(), End):
                self._room.release()
                yield item
                if self._fail_fast and isinstance(item.result, Failure):
                    return  # others may have made something before they were cancelled, and it stands behind
            if item.error is not None:
                raise item.error
        finally:
            workers.cancel()
            await asyncio.wait([workers])

    async def _work_all(self) -> None:
        end = End()
        try:
            async with aclosing(self._stream), asyncio.TaskGroup() as group:
                for _ in range(self._max_concurrency):
                    group.create_task(self._work())
            if self._working:  # one was cancelled by something within it, and nothing else tells
                end = End(Unavailable(Reason.INTERNAL_CANCELLED, "the server cancelled its own work; try again"))
        except* _EnoughError:
            pass
        except* Exception as errors:  # noqa: BLE001  raised again where the results are read
            end = End(errors.exceptions[0])
        finally:
            self._ready.put_nowait(end)

    async def _work(self) -> None:
        self._working += 1
        while (item := await self._take()) is not None:
            async with aclosing(outputs(self._step, item)) as made:
                async for output in made:
                    await self._room.acquire()
                    self._ready.put_nowait(output)
                    if self._fail_fast and isinstance(output.result, Failure):
                        raise _EnoughError
        self._working -= 1

    async def _take(self) -> Item | None:
        async with self._taking:
            return await anext(self._stream, None)
