"""Opens the one SQLite file: alone, private, migrated, with the settings that durability needs."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Literal

import apsw

from stepwired.errors import Broken, Misconfigured, Reason, Subject, Unavailable
from stepwired.store.faults import failure_of
from stepwired.store.functions import add_functions

Durability = Literal["full", "relaxed"]
"""`full`: a write returns after it reached the disk. `relaxed`: after it reached the operating system, so that the end
of the process loses nothing and the loss of power may lose all since the last checkpoint, in the worst case every
write since then, though never half of one."""

SQLITE_NEEDED = (3, 51, 3)
"""Earlier ones can corrupt a file in WAL mode (sqlite.org/wal.html#walresetbug)."""

APPLICATION_ID = 0x53575244
"""Tells our files from others: "SWRD"."""

BUSY_TIMEOUT_MS = 5000
WAL_KEPT_BYTES = 16 * 1024 * 1024
"""What stays of the WAL file once it has been emptied."""

NETWORK_FILE_SYSTEMS = frozenset(
    {
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "fuse.ceph",
        "fuse.davfs2",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.moosefs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "pvfs2",
        "smb3",
        "smbfs",
    }
)
"""As Linux names them. `9p` and `virtiofs` are not among them: sandboxes have their local disks so."""

MOUNTS = Path("/proc/self/mountinfo")

BACKFILLS: dict[int, Callable[[apsw.Connection], None]] = {}
"""What runs after the SQL of a schema version, in the same transaction: SQL cannot read the messages in `body`."""

_FILE, _LOCK = "stepwire.db", "stepwire.lock"


class Home:
    """The folder of a store, held by this process alone from construction to `close`.

    Attributes:
        path: The database file.

    Raises:
        Unavailable: STORE_UNAVAILABLE, another process holds it; the message names its id.
        Misconfigured: STORE_UNAVAILABLE, the folder cannot be used; the message says why.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / _FILE
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_network(folder)
            # Made before SQLite makes it, so that nobody else can read it; the files beside it inherit its mode.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(
                folder, f"{error.strerror}: choose another data folder, or change its permissions"
            ) from None
        try:
            # flock and not lockf: a child of ours does not inherit it through exec, and closing the file elsewhere in
            # this process does not release it.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._lock)
            if error.errno not in {errno.EAGAIN, errno.EACCES}:
                raise _unusable(folder, f"it cannot be locked ({error.strerror}): use a local disk") from None
            text = f"{self.path} is in use by process {holder}: stop that one, or choose another data folder"
            raise Unavailable(Reason.STORE_UNAVAILABLE, text, subject=Subject("store", str(self.path))) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Let go. The lock file stays: removing it would let two processes lock two files of one name."""
        os.ftruncate(self._lock, 0)
        os.close(self._lock)


def open_writer(path: Path, durability: Durability) -> apsw.Connection:
    """Open the connection that writes, and bring the schema up to date.

    Raises:
        Misconfigured: The file cannot be opened, is no store, or was written by a later version.
        Broken: STORE_CORRUPT.
        Throttled: STORE_FULL, while migrating.
    """
    found = apsw.sqlite_lib_version()
    if tuple(map(int, found.split("."))) < SQLITE_NEEDED:
        needed = ".".join(map(str, SQLITE_NEEDED))
        raise _unusable(path, f"apsw holds SQLite {found}, which can corrupt it: {needed} is needed")
    with contextlib.ExitStack() as undo, _opening(path, "writing"):
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        undo.callback(db.close)
        _configure(db, path, durability)
        _migrate(db, path)
        # Not before: a migration may have to rebuild a table that others point to.
        db.pragma("foreign_keys", True)
        undo.pop_all()
    return db


def open_reader(path: Path) -> apsw.Connection:
    """Open a connection that cannot write. Threads may share it one after the other, never at once.

    Raises:
        Failure: As `open_writer`.
    """
    with contextlib.ExitStack() as undo, _opening(path, "reading"):
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        undo.callback(db.close)
        db.set_busy_timeout(BUSY_TIMEOUT_MS)
        db.wal_autocheckpoint(0)
        add_functions(db)
        undo.pop_all()
    return db


@contextlib.contextmanager
def _opening(path: Path, purpose: str) -> Iterator[None]:
    try:
        yield
    except (apsw.CantOpenError, apsw.PermissionsError, apsw.ReadOnlyError):
        raise _unusable(path, f"it cannot be opened for {purpose}: look at its permissions") from None
    except apsw.Error as error:
        if failure := failure_of(error):
            raise failure from None
        raise


def file_system(folder: Path, mounts: str) -> str:
    """The kind of file system that holds a folder, such as `ext4`; empty if nobody knows.

    Args:
        folder: Without symbolic links.
        mounts: What Linux says in `MOUNTS`.
    """
    kind, nearest = "", -1
    for line in mounts.splitlines():
        place, _, source = line.partition(" - ")
        # Blanks and the like are written as `\\040`.
        mount = Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), place.split()[4]))
        depth = len(mount.parts)
        if depth >= nearest and folder.is_relative_to(mount):  # what was mounted later lies on top
            kind, nearest = source.split()[0], depth
    return kind


def _refuse_network(folder: Path) -> None:
    """Refuse a folder that other machines may have open: neither locks nor WAL work there (sqlite.org/wal.html)."""
    try:
        mounts = MOUNTS.read_text("utf-8", "replace")
    except OSError:
        return  # not Linux
    if (kind := file_system(folder.resolve(), mounts)) in NETWORK_FILE_SYSTEMS:
        raise _unusable(folder, f"it lies on a network file system ({kind}), which can corrupt it: use a local disk")


def migrations() -> dict[int, str]:
    """The SQL of each schema version, oldest first. Version n is what files 1 to n make of an empty database."""
    folder = resources.files("stepwired.store") / "schema"
    files = sorted((entry.name, entry.read_text("utf-8")) for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return {int(name.partition("_")[0]): sql for name, sql in files}


def _configure(db: apsw.Connection, path: Path, durability: Durability) -> None:
    db.set_busy_timeout(BUSY_TIMEOUT_MS)
    if db.pragma("journal_mode", "wal") != "wal":
        raise _unusable(path, "its file system has no shared memory for SQLite's WAL: use a local disk")
    db.pragma("synchronous", "FULL" if durability == "full" else "NORMAL")
    db.pragma("journal_size_limit", WAL_KEPT_BYTES)
    db.pragma("temp_store", "MEMORY")
    db.wal_autocheckpoint(0)  # the writer does it, after the answers are out
    add_functions(db)


def _migrate(db: apsw.Connection, path: Path) -> None:
    """Apply the migrations that are missing, each in a transaction of its own together with its number."""
    owner, version = db.pragma("application_id"), db.pragma("user_version")
    if owner != APPLICATION_ID and (owner or version or db.pragma("schema_version")):
        raise _unusable(path, "it is a database of another program: choose another data folder")
    steps = migrations()
    if version > max(steps):
        text = f"{path} has schema {version} and this program knows up to {max(steps)}: run the newer program"
        raise Misconfigured(Reason.STORE_VERSION_UNSUPPORTED, text, subject=Subject("store", str(path)))
    for number, sql in steps.items():
        if number > version:
            db.execute(f"BEGIN IMMEDIATE; {sql}")
            if backfill := BACKFILLS.get(number):
                backfill(db)
            if db.execute("PRAGMA foreign_key_check").fetchone():
                text = f"{path} cannot get schema {number}: rows of it belong to nothing; restore it from a backup"
                raise Broken(Reason.STORE_CORRUPT, text, subject=Subject("store", str(path)))
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number}; COMMIT")


def _unusable(path: Path, why: str) -> Misconfigured:
    return Misconfigured(Reason.STORE_UNAVAILABLE, f"{path}: {why}", subject=Subject("store", str(path)))
