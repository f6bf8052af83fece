"""Keeps bytes by key in a file of its own, which may be lost at any time: a cache, not a store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import apsw

FILE = "cache.db"
_FORMAT = 1
_ENTRY_BYTES = 256
"""What one entry takes beside its value."""

_SCHEMA = """
CREATE TABLE entry (seq INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, value BLOB NOT NULL) STRICT;
"""
_DELETE_OLDEST = """
DELETE FROM entry WHERE seq IN (SELECT seq FROM entry ORDER BY seq LIMIT 100) RETURNING length(value)
"""
_log = logging.getLogger(__name__)

T = TypeVar("T")


class DiskKeeper:
    """A cache on disk, of at most so many bytes; the oldest go first. What goes wrong with it is a miss, and logged.

    One process at a time: whoever holds the folder's store. Not synced: the loss of power may cost all of it.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._path = folder / FILE
        self._most_bytes = most_bytes
        self._size_bytes = 0
        self._db: apsw.Connection | None = None
        # Of its own: SQLite waits for the disk, and one thread needs no locks.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cache")

    async def get(self, keys: Iterable[bytes]) -> Mapping[bytes, bytes]:
        """Those that are there."""
        wanted = list(keys)
        return await self._run(lambda db: self._get(db, wanted), {})

    async def put(self, values: Mapping[bytes, bytes]) -> None:
        """Keep them, and let the oldest go until all fit."""
        await self._run(lambda db: self._put(db, values), None)

    async def close(self) -> None:
        """Close the file, once what was begun is done."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[apsw.Connection], T], otherwise: T) -> T:
        def run() -> T:
            try:
                return work(self._opened())
            except (apsw.Error, OSError) as error:
                _log.warning("The cache on disk failed: %s", type(error).__name__)
                self._close()
                return otherwise

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    def _opened(self) -> apsw.Connection:
        if self._db is None:
            try:
                self._db = self._open()
            except (apsw.NotADBError, apsw.CorruptError, apsw.SQLError):  # no loss: it is made anew
                self._remove()
                self._db = self._open()
        return self._db

    def _open(self) -> apsw.Connection:
        # Made before SQLite makes it, so that nobody else can read it.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with contextlib.ExitStack() as undo:
            db = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
            undo.callback(db.close)
            db.pragma("journal_mode", "wal")
            db.pragma("synchronous", "OFF")
            if db.pragma("user_version") != _FORMAT:
                db.execute(f"DROP TABLE IF EXISTS entry; {_SCHEMA} PRAGMA user_version = {_FORMAT}")
            counted = db.execute("SELECT ifnull(sum(length(value)), 0) + ? * count(*) FROM entry", (_ENTRY_BYTES,))
            self._size_bytes = int(counted.get)
            undo.pop_all()
        return db

    def _get(self, db: apsw.Connection, keys: list[bytes]) -> dict[bytes, bytes]:
        found = {}
        for key in keys:
            if (row := db.execute("SELECT value FROM entry WHERE key = ?", (key,)).fetchone()) is not None:
                found[key] = row[0]
        return found

    def _put(self, db: apsw.Connection, values: Mapping[bytes, bytes]) -> None:
        added = 0
        with db:  # one transaction
            for key, value in values.items():
                size = len(value) + _ENTRY_BYTES
                if size <= self._most_bytes:
                    db.execute("INSERT OR IGNORE INTO entry (key, value) VALUES (?, ?)", (key, value))
                    added += size * db.changes()
            left = self._size_bytes + added
            while left > self._most_bytes:
                gone: list[Any] = db.execute(_DELETE_OLDEST).fetchall()
                if not gone:
                    break
                left -= sum(length + _ENTRY_BYTES for (length,) in gone)
        self._size_bytes = left

    def _close(self) -> None:
        if self._db is not None:
            db, self._db = self._db, None
            with contextlib.suppress(apsw.Error):
                db.close()

    def _remove(self) -> None:
        for path in (self._path, Path(f"{self._path}-wal"), Path(f"{self._path}-shm")):
            path.unlink(missing_ok=True)
