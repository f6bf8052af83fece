"""Reads on a few threads with connections of their own, so that a slow read blocks neither the loop nor a write."""

from __future__ import annotations

import asyncio
import os
import queue
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import apsw

from stepwired.errors import Failure
from stepwired.store.faults import closed, failure_of, too_slow

T = TypeVar("T")

Check = Callable[[], None]
"""Raises once a read is over."""

READ_S = 5.0
"""What one read may take: it keeps a thread from others, and the WAL from being emptied."""

#: Steps of SQLite's machine between two looks at the time. One step of a search may take 30 ms.
CHECK_STEPS = 200


class _Turn:
    """One read while it runs: it is over when its time is, when its caller is gone, or when the store closes."""

    def __init__(self) -> None:
        self._until_s = float("inf")
        self._why: Failure | None = None

    def begin(self) -> None:
        """Count the time from now, without what was spent waiting for a thread."""
        self._until_s = time.monotonic() + READ_S

    def give_up(self, why: Failure) -> None:
        """End it, from any thread."""
        self._why = why

    def check(self) -> None:
        """Raise if it is over; cheap."""
        if self.is_over():
            raise self.failure()

    def is_over(self) -> bool:
        return self._why is not None or time.monotonic() > self._until_s

    def failure(self) -> Failure:
        return self._why or too_slow(READ_S)


class Readers:
    """Owns connections that cannot write, and as many threads.

    Args:
        connections: One for each thread.
        name: Of the threads.
    """

    def __init__(self, connections: Sequence[apsw.Connection], name: str = "store-reader") -> None:
        self._idle: queue.SimpleQueue[apsw.Connection] = queue.SimpleQueue()
        for db in connections:
            self._idle.put(db)
        self._pool: ThreadPoolExecutor | None = ThreadPoolExecutor(len(connections), name)
        self._connections = connections
        self._turns: set[_Turn] = set()
        self._pid = os.getpid()

    async def read(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run `work` on a thread. It must be short, and hold no transaction when it returns.

        It is interrupted after `READ_S`, when the caller is cancelled and when the store is closed.

        Raises:
            Failure: What `work` raised, in our words where SQLite raised it. STORE_UNAVAILABLE if it was interrupted.
        """
        return await self.read_checked(lambda db, _: work(db))

    async def read_checked(self, work: Callable[[apsw.Connection, Check], T]) -> T:
        """As `read`, for what also takes long outside of SQLite: it calls what it is given now and then."""
        if os.getpid() != self._pid:
            raise RuntimeError("the store was opened before a fork: two processes on one connection corrupt the file")
        if self._pool is None:
            raise closed()
        turn = _Turn()
        self._turns.add(turn)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, work, turn)
        finally:
            turn.give_up(closed())  # if it still runs, nobody waits for it
            self._turns.discard(turn)

    async def close(self) -> None:
        """Interrupt reads that run, then close the connections."""
        if (pool := self._pool) is not None:
            self._pool = None
            for turn in self._turns:
                turn.give_up(closed())
            await asyncio.get_running_loop().run_in_executor(None, pool.shutdown)
            for db in self._connections:
                db.close()

    def _run(self, work: Callable[[apsw.Connection, Check], T], turn: _Turn) -> T:
        turn.check()
        turn.begin()
        db = self._idle.get()  # never waits: there is one for each thread
        try:
            db.set_progress_handler(turn.is_over, CHECK_STEPS)
            return work(db, turn.check)
        except Exception as error:
            # A traceback keeps the cursors of `work`, and an open one would keep the next reads of this connection on
            # the state of today, and the WAL from being emptied.
            traceback.clear_frames(error.__traceback__)
            # The second is what apsw calls an interrupted look for the tokenizer.
            if isinstance(error, apsw.InterruptError | apsw.NoFTS5Error):
                raise turn.failure() from None
            if isinstance(error, apsw.Error) and (failure := failure_of(error, db.system_errno)):
                raise failure from None
            raise
        finally:
            db.set_progress_handler(None)
            if db.in_transaction:  # the end of it was interrupted
                db.execute("ROLLBACK")
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
