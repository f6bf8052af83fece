"""Reads on a few threads with connections of their own, so that a slow read blocks neither the loop nor a write."""

from __future__ import annotations

import asyncio
import os
import queue
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import apsw

from stepwired.store.faults import closed, failure_of

T = TypeVar("T")


class Readers:
    """Owns connections that cannot write, and as many threads."""

    def __init__(self, connections: Sequence[apsw.Connection]) -> None:
        self._idle: queue.SimpleQueue[apsw.Connection] = queue.SimpleQueue()
        for db in connections:
            self._idle.put(db)
        self._pool: ThreadPoolExecutor | None = ThreadPoolExecutor(len(connections), "store-reader")
        self._connections = connections
        self._pid = os.getpid()

    async def read(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run `work` on a thread. It must be short, and hold no transaction when it returns.

        Raises:
            Failure: What `work` raised, in our words where SQLite raised it.
        """
        if os.getpid() != self._pid:
            raise RuntimeError("the store was opened before a fork: two processes on one connection corrupt the file")
        if self._pool is None:
            raise closed()
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, work)

    async def close(self) -> None:
        """Wait for reads that run, then close the connections."""
        if (pool := self._pool) is not None:
            self._pool = None
            await asyncio.get_running_loop().run_in_executor(None, pool.shutdown)
            for db in self._connections:
                db.close()

    def _run(self, work: Callable[[apsw.Connection], T]) -> T:
        db = self._idle.get()  # never waits: there is one for each thread
        try:
            return work(db)
        except Exception as error:
            # A traceback keeps the cursors of `work`, and an open one would keep the next reads of this connection on
            # the state of today, and the WAL from being emptied.
            traceback.clear_frames(error.__traceback__)
            if isinstance(error, apsw.Error) and (failure := failure_of(error, db.system_errno)):
                raise failure from None
            raise
        finally:
            self._idle.put(db)


@contextmanager
def one_moment(db: apsw.Connection) -> Iterator[None]:
    """All reads within see the store as it was at the first of them."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
