"""Writes with one connection on one thread: what waits is committed together, and answered after the commit.

One fsync then serves all writes that came in during the one before it. Nothing waits for company.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import apsw

from stepwired.errors import Failure, Reason
from stepwired.store import database
from stepwired.store.faults import closed, disk_failed, failure_of

T = TypeVar("T")

#: Writes of one transaction: enough to share an fsync, few enough that nobody waits long behind them.
GROUP_MAX = 256

#: Content of one transaction, about: the WAL holds all of it.
GROUP_BYTES = 16 * 1024 * 1024

#: Pages in the WAL after which they are copied to the database, and after which readers are waited for to empty it:
#: 4 MiB and 32 MiB. Only the second bounds the file while reads overlap all the time.
CHECKPOINT_PAGES, TRUNCATE_PAGES = 1000, 8000

#: How long readers are waited for to empty the WAL.
TRUNCATE_WAIT_MS = 100


@dataclass(slots=True, eq=False)
class _Job:
    work: Callable[[apsw.Connection], Any]
    answer: asyncio.Future[Any]
    then: Callable[[Any], None] | None
    measure: Callable[[], int]
    outcome: Any = None
    failure: Exception | None = None


class Writer:
    """Owns the connection that writes; `close` before the loop ends.

    Args:
        db: The connection.
        loop: Where answers go.
        finish: What is done once for all writes of a transaction, just before they are committed.
    """

    def __init__(
        self,
        db: apsw.Connection,
        loop: asyncio.AbstractEventLoop,
        finish: Callable[[apsw.Connection], None] = lambda _: None,
    ) -> None:
        self._db = db
        self._loop = loop
        self._finish = finish
        self._pid = os.getpid()
        self._todo: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._failed = False  # the disk; kept apart because closing still does what was handed over
        self._wal_pages = 0
        self._truncate_at = TRUNCATE_PAGES
        db.set_wal_hook(self._note_wal)
        # A daemon, so that a server that dies of an error is not kept alive by it: what was not answered may be lost.
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(
        self,
        work: Callable[[apsw.Connection], T],
        then: Callable[[T], None] | None = None,
        measure: Callable[[], int] = lambda: 0,
    ) -> asyncio.Future[T]:
        """Hand over a write at once; its answer comes after the commit.

        Args:
            work: Runs on the writer's thread within a transaction, and again if another write spoiled that one. What
                it raises undoes what it did, and nothing else.
            then: Is told on the loop what `work` returned, once that is committed, even if the caller is gone.
            measure: Says how many bytes it stores, about, if that may be much. Runs on the writer's thread.

        Raises:
            Unavailable: STORE_UNAVAILABLE after `close`; STORE_IO_ERROR once the disk has failed.
        """
        if os.getpid() != self._pid:
            raise RuntimeError("the store was opened before a fork: two processes on one connection corrupt the file")
        if self._closed:
            raise closed()
        if self._failed:
            raise disk_failed()
        answer: asyncio.Future[T] = self._loop.create_future()
        self._todo.put(_Job(work, answer, then, measure))
        return answer

    async def close(self) -> None:
        """Finish what was handed over and close the connection."""
        if not self._closed:
            self._closed = True
            self._todo.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        more = True
        while more:
            group: list[_Job] = []
            size_bytes = 0
            while more and len(group) < GROUP_MAX and size_bytes < GROUP_BYTES and not (group and self._todo.empty()):
                job = self._todo.get()
                if job is None:
                    more = False
                else:
                    group.append(job)
                    size_bytes += job.measure()
            if group:
                self._commit(group)
                self._answer(group)
                self._checkpoint()
        self._db.set_wal_hook(None)
        self._db.close()

    def _commit(self, group: Sequence[_Job]) -> None:
        """Run jobs in one transaction; where that fails as a whole, each in one of its own; none on a failed disk."""
        if self._failed:
            for job in group:
                job.failure = disk_failed()
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for job in group:
                self._attempt(job)
            self._finish(self._db)
            self._db.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  # whatever it is, callers have to hear of it
            failure = self._undo(error)
            # After a failed fsync nobody knows what is on the disk: do not try again (as PostgreSQL since 2018).
            reason = failure.reason if isinstance(failure, Failure) else None
            if reason is Reason.STORE_IO_ERROR:
                self._failed = True
            elif len(group) > 1 and reason is not Reason.STORE_CONFLICT:  # each would wait as long again
                for job in group:
                    self._commit([job])
                return
            for job in group:
                job.failure = job.failure or failure  # what was wrong with a job itself, it can mend

    def _attempt(self, job: _Job) -> None:
        """Run one job so that its failure undoes it alone; raise if the transaction itself is lost."""
        job.outcome, job.failure = None, None
        self._db.execute("SAVEPOINT job")
        try:
            job.outcome = job.work(self._db)
        except apsw.Error:
            raise  # SQLite may have rolled back everything: begin again, without the others
        except Exception as error:  # noqa: BLE001  # it belongs to the caller of this job
            job.failure = error
            self._db.execute("ROLLBACK TO job")
        self._db.execute("RELEASE job")

    def _undo(self, error: Exception) -> Exception:
        failure = failure_of(error, self._db.system_errno) if isinstance(error, apsw.Error) else None
        if self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except apsw.Error as also:
                failure = failure_of(also, self._db.system_errno) or failure
        return failure or error

    def _answer(self, group: Sequence[_Job]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: there is nobody left to tell
            self._loop.call_soon_threadsafe(_settle, group)

    def _note_wal(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        if self._wal_pages < CHECKPOINT_PAGES or self._failed:
            return
        if self._wal_pages < TRUNCATE_PAGES:  # it has begun anew since readers were in the way
            self._truncate_at = TRUNCATE_PAGES
        full = self._wal_pages >= self._truncate_at
        try:
            if full:
                # Waits for readers, and all writes wait with it.
                self._db.set_busy_timeout(TRUNCATE_WAIT_MS)
                self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            else:
                self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            failure = failure_of(error, self._db.system_errno)
            if full and failure is not None and failure.reason is Reason.STORE_CONFLICT:
                self._truncate_at = self._wal_pages + CHECKPOINT_PAGES  # a reader is in the way: not at once again
            # No room: a later commit tries again. A failing disk is another matter.
            elif failure is None or failure.reason not in {Reason.STORE_CONFLICT, Reason.STORE_FULL}:
                self._failed = True
        finally:
            if full:
                self._db.set_busy_timeout(database.BUSY_TIMEOUT_MS)
        self._wal_pages = 0


def _settle(group: Sequence[_Job]) -> None:
    for job in group:
        if job.then is not None and job.failure is None:
            job.then(job.outcome)
    for job in group:
        if job.answer.done():  # its caller was cancelled
            continue
        if job.failure is not None:
            job.answer.set_exception(job.failure)
        else:
            job.answer.set_result(job.outcome)
