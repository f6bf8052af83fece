"""What the parts of a SQLite store share: the folder, the connection that writes, those that read, and the clocks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import apsw

from stepwired.conversation import content_bytes, json_bytes
from stepwired.events import Json, Message
from stepwired.limits import Limits
from stepwired.store import search
from stepwired.store.answers import Clock
from stepwired.store.bells import Bells
from stepwired.store.database import Durability, Home, open_reader, open_writer
from stepwired.store.readers import Readers
from stepwired.store.writer import Writer

T = TypeVar("T")

READERS = 4

SEARCHERS = 2
"""Searches have connections and threads of their own: however slow they are, other reads go on."""


@dataclass(frozen=True, slots=True)
class Core:
    """An open store without its meaning. Made by `open`."""

    home: Home
    writer: Writer
    readers: Readers
    searchers: Readers
    bells: Bells
    clock: Clock
    limits: Limits
    clock_ns: Callable[[], int]

    @classmethod
    async def open(
        cls,
        folder: Path,
        limits: Limits,
        durability: Durability,
        clock_ns: Callable[[], int],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> Core:
        """Open the store, or make it; see `SqliteStore.open`."""
        loop = asyncio.get_running_loop()
        clock = Clock(monotonic_s)

        def finish(db: apsw.Connection) -> None:
            search.index_new(db)
            clock.sweep(db)

        def prepare(path: Path) -> apsw.Connection:
            db = open_writer(path, durability)
            search.prepare(db)
            clock.load(db)
            return db

        async with AsyncExitStack() as undo:
            home = Home(folder)
            undo.callback(home.close)
            writer = Writer(await loop.run_in_executor(None, prepare, home.path), loop, finish)
            undo.push_async_callback(writer.close)
            connections: list[apsw.Connection] = []
            for _ in range(READERS + SEARCHERS):
                connections.append(await loop.run_in_executor(None, open_reader, home.path))
                undo.callback(connections[-1].close)
            readers = Readers(connections[:READERS])
            searchers = Readers(connections[READERS:], "store-searcher")
            undo.pop_all()
        return cls(home, writer, readers, searchers, Bells(), clock, limits, clock_ns)

    async def write(
        self,
        conversation_id: str,
        work: Callable[[apsw.Connection], T],
        messages: Sequence[Message] = (),
        metadata: Mapping[str, Json] | None = None,
    ) -> T:
        """Do a write, which stores these messages and this metadata, and tell those who follow the conversation."""

        def measure() -> int:
            beside = sum(json_bytes(message.metadata) for message in messages if message.metadata)
            return sum(map(content_bytes, messages)) + beside + (json_bytes(metadata) if metadata else 0)

        return await self.writer.submit(work, lambda _: self.bells.ring(conversation_id), measure)

    async def close(self) -> None:
        """Wake who waits, do what was handed over, let go."""
        self.bells.close()
        async with AsyncExitStack() as undo:
            undo.callback(self.home.close)
            undo.push_async_callback(self.writer.close)  # last connection: it empties the WAL
            undo.push_async_callback(self.readers.close)
            undo.push_async_callback(self.searchers.close)

    def now_ns(self) -> int:
        """Now, cut to what a column keeps, so that what a write returns is what a read will show."""
        return whole_microseconds(self.clock_ns())


def whole_microseconds(time_ns: int) -> int:
    """A time cut to what a column keeps."""
    return time_ns // 1000 * 1000
