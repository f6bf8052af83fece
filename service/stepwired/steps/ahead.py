"""Reads a stream ahead of its reader: the one queue, and the one task, that pipelines are joined with."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from stepwired.errors import Reason, Unavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class End:
    """Stands behind the last item of a stream, with what ended it if it did not come to its end."""

    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class _Beside(Generic[T]):
    """An item that was inserted, and so takes none of the room of those that were read."""

    item: T


class Ahead(Generic[T]):
    """Reads a stream in a task of its own, at most `size` items ahead of whoever reads this.

    Reading begins at once. What the stream raises is raised here, behind its last item. There is one reader.

    Args:
        stream: What to read.
        size: How much may wait. There is always room for one item.
        cost: How much an item takes of it; 1 if not told.
    """

    # A deque and a future for each side: an item passes every hop of every run, and `asyncio.Queue` with a semaphore
    # took half of what a hop costs.

    def __init__(self, stream: AsyncGenerator[T, None], size: int, cost: Callable[[T], int] | None = None) -> None:
        self._cost = cost
        self._entries: deque[T | _Beside[T] | End] = deque()
        self._room = size
        self._loop = asyncio.get_running_loop()
        self._waiting_reader: asyncio.Future[None] | None = None
        self._waiting_writer: asyncio.Future[None] | None = None
        self._task = self._loop.create_task(self._read(stream))
        self._is_cancelled = False
        self.inserted_count = 0
        """Inserted items that nobody has read yet."""

    async def _read(self, stream: AsyncGenerator[T, None]) -> None:
        # Holds for a stream that is cancelled by something within it: its reader must not wait for ever.
        end = End(Unavailable(Reason.INTERNAL_CANCELLED, "the server cancelled its own work; try again"))
        try:
            async with aclosing(stream):
                async for item in stream:
                    while self._room <= 0:
                        self._waiting_writer = self._loop.create_future()
                        await self._waiting_writer
                    self._room -= 1 if self._cost is None else self._cost(item)
                    self._put(item)
            end = End()
        except Exception as error:  # noqa: BLE001  raised again where the stream is read
            end = End(error)
        finally:
            self._put(end)

    def _put(self, entry: T | _Beside[T] | End) -> None:
        self._entries.append(entry)
        if (reader := self._waiting_reader) is not None:
            self._waiting_reader = None
            if not reader.done():
                reader.set_result(None)

    def widen(self, more: int) -> None:
        """Let so many more items be read ahead: at once for one that was taken, for good for any other."""
        self._room += more
        if (writer := self._waiting_writer) is not None and self._room > 0:
            self._waiting_writer = None
            if not writer.done():
                writer.set_result(None)

    def insert(self, item: T) -> None:
        """Put `item` behind those that wait, without waiting for room."""
        self.inserted_count += 1
        self._put(_Beside(item))

    def stop(self, error: Exception | None = None) -> None:
        """Stop reading the stream; raise `error`, or come to the end, behind what was read so far."""
        self._cancel()
        self._put(End(error))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._entries:
            self._waiting_reader = self._loop.create_future()
            await self._waiting_reader
        entry = self._entries.popleft()
        if isinstance(entry, End):
            self._entries.appendleft(entry)  # who reads on finds the end again, and does not wait forever
            raise entry.error or StopAsyncIteration
        if isinstance(entry, _Beside):
            self.inserted_count -= 1
            return entry.item
        self.widen(1 if self._cost is None else self._cost(entry))
        return entry

    async def some(self, most: int) -> list[T]:
        """Wait for an item, and take with it those that are there already, up to `most` in all; empty at the end."""
        try:
            taken = [await anext(self)]
        except StopAsyncIteration:
            return []
        while len(taken) < most and self._entries and not isinstance(self._entries[0], End):
            taken.append(await anext(self))
        return taken

    async def aclose(self) -> None:
        """Stop reading and wait until the stream is closed."""
        self._cancel()
        await asyncio.wait([self._task])

    def _cancel(self) -> None:
        if not self._is_cancelled:  # a second time would cut short what the stream does to end well
            self._is_cancelled = True
            self._task.cancel()


async def close_all(streams: Iterable[Ahead[T]]) -> None:
    """Close streams side by side, so that many take no longer than the slowest."""
    await asyncio.gather(*(stream.aclose() for stream in streams))
