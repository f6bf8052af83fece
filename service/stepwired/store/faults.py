"""Says in our words what SQLite refused, and who can do something about it."""

from __future__ import annotations

import errno

import apsw

from stepwired.errors import Broken, Conflict, Failure, Reason, Subject, Throttled, Unavailable

#: Errors of the file system that mean "no room": SQLite reports some of them as plain I/O errors.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_STORE = Subject("store", "conversations")


def failure_of(error: apsw.Error, system_errno: int = 0) -> Failure | None:
    """The failure that a caller is told; None if the error means a defect of ours.

    Args:
        error: What SQLite raised.
        system_errno: The operating system's number for it, as the connection knows it.
    """
    if isinstance(error, apsw.FullError) or (isinstance(error, apsw.IOError) and system_errno in _NO_ROOM):
        text = "the disk of the store is full: nothing was stored; reads still work"
        return Throttled(Reason.STORE_FULL, text, subject=_STORE)
    if isinstance(error, apsw.IOError):
        return disk_failed()
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return Conflict(Reason.STORE_CONFLICT, "another program has locked the store: try again", subject=_STORE)
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        text = "the file of the store is damaged: restore it from a backup"
        return Broken(Reason.STORE_CORRUPT, text, subject=_STORE)
    if isinstance(error, apsw.CantOpenError | apsw.ReadOnlyError | apsw.PermissionsError):
        text = "the file of the store can no longer be opened or written: look at its folder's permissions"
        return Unavailable(Reason.STORE_UNAVAILABLE, text, subject=_STORE)
    return None


def disk_failed() -> Unavailable:
    """The failure of a write after which, and of every write once, nobody knows what reached the disk."""
    text = "the disk of the store failed: nothing is written until the server has been started again"
    return Unavailable(Reason.STORE_IO_ERROR, text, subject=_STORE)


def closed() -> Unavailable:
    """The failure of a call that comes after `close`."""
    return Unavailable(Reason.STORE_UNAVAILABLE, "the store is closed: the server is stopping", subject=_STORE)


def too_slow(limit_s: float) -> Unavailable:
    """The failure of a read that took too long."""
    text = f"the store gave up a read after {limit_s:g} s: ask for less, or again when it has less to do"
    return Unavailable(Reason.STORE_UNAVAILABLE, text, subject=_STORE)
