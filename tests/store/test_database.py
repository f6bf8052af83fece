from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import apsw
import pytest

from stepwired.errors import Broken, Failure, Misconfigured, Reason, Unavailable
from stepwired.events import Message
from stepwired.store import codec, database
from stepwired.store.core import READERS
from stepwired.store.sqlite import SqliteStore

OPEN = """
import asyncio, pathlib, sys
from stepwired.errors import Failure
from stepwired.store.sqlite import SqliteStore
from tests.store.talk import on_writer
try:
    asyncio.run(SqliteStore.open(pathlib.Path(sys.argv[1])))
except Failure as failure:
    sys.exit(f"{failure.reason} {failure}")
"""

FORK = """
import asyncio, os, pathlib, sys
from stepwired.store.sqlite import SqliteStore
from tests.store.talk import on_writer

async def main():
    store = await SqliteStore.open(pathlib.Path(sys.argv[1]))
    child = os.fork()
    if child == 0:
        for call in (store.create("c"), store.get("c")):
            try:
                call.send(None)
            except RuntimeError as error:
                os.write(2, str(error).encode())
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    await store.create("mine")
    await store.close()

asyncio.run(main())
"""


async def run(code: str, folder: Path) -> tuple[int, str]:
    """Run Python code with a folder as its argument; the exit code and what it wrote to stderr."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, folder, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, errors.decode()


async def test_a_second_process_is_refused_and_told_who_holds_the_store(store: SqliteStore, tmp_path: Path) -> None:
    code, errors = await run(OPEN, tmp_path / "data")
    assert code == 1
    assert errors.startswith("STORE_UNAVAILABLE")
    assert f"process {os.getpid()}:" in errors
    await store.create("c")  # the holder goes on


async def test_one_process_cannot_open_a_store_twice_but_again_after_closing(tmp_path: Path) -> None:
    first = await SqliteStore.open(tmp_path)
    with pytest.raises(Unavailable):
        await SqliteStore.open(tmp_path)
    await first.create("c")
    await first.close()
    second = await SqliteStore.open(tmp_path)
    assert (await second.get("c")).id == "c"
    await second.close()


async def test_a_forked_child_cannot_use_the_store_of_its_parent(tmp_path: Path) -> None:
    code, errors = await run(FORK, tmp_path)
    assert code == 0, errors
    assert errors.count("opened before a fork") == 2


async def test_files_are_for_their_owner_alone_and_a_new_folder_too(store: SqliteStore, tmp_path: Path) -> None:
    await store.create("c")
    folder = tmp_path / "data"
    assert folder.stat().st_mode & 0o777 == 0o700
    files = {entry.name: entry.stat().st_mode & 0o777 for entry in folder.iterdir()}
    assert {"stepwire.db", "stepwire.db-wal", "stepwire.lock"} <= set(files)
    assert set(files.values()) == {0o600}


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("relaxed", 1)])
def test_a_write_is_as_durable_as_was_asked(tmp_path: Path, durability: database.Durability, synchronous: int) -> None:
    home = database.Home(tmp_path)
    db = database.open_writer(home.path, durability)
    assert (db.pragma("synchronous"), db.pragma("journal_mode")) == (synchronous, "wal")
    db.close()
    home.close()


async def test_every_migration_leaves_its_number_and_opening_again_changes_nothing(tmp_path: Path) -> None:
    versions = database.migrations()
    assert list(versions) == list(range(1, len(versions) + 1))
    schemas = []
    for _ in range(2):
        await (await SqliteStore.open(tmp_path)).close()
        db = apsw.Connection(str(tmp_path / "stepwire.db"))
        assert (db.pragma("user_version"), db.pragma("application_id")) == (len(versions), database.APPLICATION_ID)
        schemas.append(db.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall())
        db.close()
    assert schemas[0] == schemas[1]


async def test_a_newer_schema_is_refused_and_the_file_left_for_the_newer_program(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    await store.create("c", messages=[Message(text="x", id="m")])
    await store.close()
    set_version(tmp_path, 99)
    with pytest.raises(Misconfigured) as caught:
        await SqliteStore.open(tmp_path)
    assert caught.value.reason is Reason.STORE_VERSION_UNSUPPORTED
    assert "99" in str(caught.value)
    set_version(tmp_path, len(database.migrations()))
    store = await SqliteStore.open(tmp_path)
    assert (await store.message("c", "m")).text == "x"
    await store.close()


def set_version(folder: Path, version: int) -> None:
    db = apsw.Connection(str(folder / "stepwire.db"))
    db.pragma("user_version", version)
    db.close()


async def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "stepwire.db"
    db = apsw.Connection(str(path))
    db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(Misconfigured) as caught:
        await SqliteStore.open(tmp_path)
    assert "another program" in str(caught.value)
    db = apsw.Connection(str(path))
    assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
    db.close()


async def test_a_file_that_is_no_database_is_called_corrupt_and_left_alone(tmp_path: Path) -> None:
    garbage = b"no database at all " * 1000
    (tmp_path / "stepwire.db").write_bytes(garbage)
    with pytest.raises(Broken) as caught:
        await SqliteStore.open(tmp_path)
    assert caught.value.reason is Reason.STORE_CORRUPT
    assert (tmp_path / "stepwire.db").read_bytes() == garbage


@pytest.mark.parametrize("spoil", ["folder", "file"])
async def test_a_folder_that_cannot_be_used_is_named_with_what_to_do(tmp_path: Path, spoil: str) -> None:
    folder = tmp_path / "data"
    if spoil == "folder":
        folder.write_text("a file is in its place")
    else:
        (folder / "stepwire.db").mkdir(parents=True)
    with pytest.raises(Failure) as caught:
        await SqliteStore.open(folder)
    assert caught.value.reason is Reason.STORE_UNAVAILABLE
    assert str(folder) in str(caught.value)
    assert "choose another data folder" in str(caught.value)


async def read_all(store: SqliteStore) -> None:
    async with aclosing(store.messages("c")) as pages:
        async for _ in pages:
            pass


def spoil_texts(body: bytes) -> bytes:
    """Make messages that are none: their text is no UTF-8 any more. SQLite does not notice."""
    return body.replace(b"y" * 500, b"\xff" * 500)


def spoil_pages(body: bytes) -> bytes:
    """Overwrite pages, which SQLite notices."""
    return body[: len(body) // 2] + b"\xff" * (len(body) - len(body) // 2)


@pytest.mark.parametrize("spoil", [spoil_texts, spoil_pages])
async def test_damage_that_shows_while_reading_is_called_corrupt_and_ends_that_call_alone(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    store = await SqliteStore.open(tmp_path)
    whole, _ = await store.create("whole", messages=[Message(text="x")])
    await store.create("c", messages=[Message(text="y" * 2000) for _ in range(100)])
    await store.close()
    path = tmp_path / "stepwire.db"
    body = path.read_bytes()
    assert spoil(body) != body
    path.write_bytes(spoil(body))
    store = await SqliteStore.open(tmp_path)
    with pytest.raises(Broken) as caught:
        await read_all(store)
    assert caught.value.reason is Reason.STORE_CORRUPT
    assert (await store.append("whole", []))[0].revision == whole.revision
    await store.close()


async def test_a_failed_read_keeps_no_reader_on_an_old_state(store: SqliteStore) -> None:
    """However long somebody keeps its exception, whose traceback keeps what the read was doing."""
    await store.create("c", messages=[Message(text="x", id=name) for name in ("a", "b", "c")])
    await store._core.writer.submit(
        lambda db: db.execute("UPDATE message SET body = x'ff' WHERE id IN ('b', 'c')").fetchall()
    )

    def fail_halfway(db: apsw.Connection) -> None:
        for _ in db.execute("SELECT id FROM message"):
            raise ZeroDivisionError

    kept: list[Exception] = []
    for number in range(2 * READERS):
        with pytest.raises(Broken) as caught:
            await read_all(store)
        kept.append(caught.value)
        with pytest.raises(ZeroDivisionError) as other:
            await store._core.readers.read(fail_halfway)
        kept.append(other.value)
        await store.create(f"new{number}")
        for _ in range(2 * READERS):
            assert (await store.get(f"new{number}")).id == f"new{number}"
    states = await asyncio.gather(*(store._core.readers.read(lambda db: db.txn_state()) for _ in range(READERS)))
    assert set(states) == {apsw.SQLITE_TXN_NONE}
    assert kept


# --- migrations ---


OLD = database.migrations()
NEXT = max(OLD) + 1


async def test_a_migration_can_read_the_messages_that_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "migrations", lambda: OLD)
    store = await SqliteStore.open(tmp_path)
    await store.create("c", messages=[Message(text="one"), Message(text="two")])
    await store.close()
    newer = OLD | {NEXT: "ALTER TABLE message ADD COLUMN length INTEGER NOT NULL DEFAULT 0;"}
    monkeypatch.setattr(database, "migrations", lambda: newer)

    def measure(db: apsw.Connection) -> None:
        rows: list[Any] = db.execute("SELECT key, body FROM message").fetchall()
        for key, body in rows:
            db.execute("UPDATE message SET length = ? WHERE key = ?", (len(codec.decode_message(body).text), key))

    def fail(db: apsw.Connection) -> None:
        measure(db)
        raise ZeroDivisionError

    monkeypatch.setitem(database.BACKFILLS, NEXT, fail)
    with pytest.raises(ZeroDivisionError):
        await SqliteStore.open(tmp_path)
    assert (version(tmp_path), "length" in columns(tmp_path)) == (NEXT - 1, False)
    monkeypatch.setitem(database.BACKFILLS, NEXT, measure)
    store = await SqliteStore.open(tmp_path)
    assert await store._core.writer.submit(lambda db: db.execute("SELECT length FROM message").fetchall()) == [
        (3,),
        (3,),
    ]
    await store.close()
    assert version(tmp_path) == NEXT


REBUILT = """
CREATE TABLE rebuilt (key INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, head INTEGER NOT NULL, revision INTEGER
  NOT NULL, message_count INTEGER NOT NULL, create_time_us INTEGER NOT NULL, update_time_us INTEGER NOT NULL,
  body BLOB NOT NULL, feed_revision INTEGER NOT NULL, feed_count INTEGER NOT NULL) STRICT;
INSERT INTO rebuilt SELECT * FROM conversation {which};
DROP TABLE conversation;
ALTER TABLE rebuilt RENAME TO conversation;
CREATE UNIQUE INDEX conversation_id ON conversation (id);
"""


async def test_a_table_that_others_point_to_can_be_rebuilt_but_not_leave_them_pointing_at_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "migrations", lambda: OLD)
    store = await SqliteStore.open(tmp_path)
    await store.create("c", messages=[Message(text="x", id="m")])
    await store.close()
    monkeypatch.setattr(database, "migrations", lambda: OLD | {NEXT: REBUILT.format(which="WHERE id = 'd'")})
    with pytest.raises(Broken) as caught:
        await SqliteStore.open(tmp_path)
    assert caught.value.reason is Reason.STORE_CORRUPT
    assert version(tmp_path) == NEXT - 1
    monkeypatch.setattr(database, "migrations", lambda: OLD | {NEXT: REBUILT.format(which="")})
    store = await SqliteStore.open(tmp_path)
    assert (await store.message("c", "m")).text == "x"
    with pytest.raises(apsw.ConstraintError):
        await store._core.writer.submit(lambda db: db.execute("DELETE FROM conversation"))
    await store.close()


def version(folder: Path) -> int:
    db = apsw.Connection(str(folder / "stepwire.db"))
    found: int = db.pragma("user_version")
    db.close()
    return found


def columns(folder: Path) -> set[str]:
    db = apsw.Connection(str(folder / "stepwire.db"))
    found = {row[1] for row in db.execute("PRAGMA table_info(message)")}
    db.close()
    return found


# --- file systems ---

MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard
30 27 0:44 / /home rw - {home} server:/export rw,vers=4.2
31 30 0:45 / /home/a\\040b rw - xfs /dev/vdb rw
32 27 0:46 / /data rw - xfs /dev/vdc rw
33 27 0:47 / /data rw - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/homes/x", "ext4"),
        ("/home", "nfs4"),
        ("/home/x/y", "nfs4"),
        ("/home/a b/y", "xfs"),
        ("/data/x", "cifs"),  # what was mounted last lies on top
    ],
)
def test_the_file_system_of_a_folder_is_that_of_the_nearest_mount(folder: str, kind: str) -> None:
    assert database.file_system(Path(folder), MOUNTS.format(home="nfs4")) == kind


def test_a_system_without_a_list_of_mounts_has_file_systems_that_nobody_knows() -> None:
    assert database.file_system(Path("/home"), "") == ""


@pytest.mark.parametrize(("kind", "is_refused"), [("nfs", True), ("fuse.sshfs", True), ("btrfs", False)])
async def test_a_network_file_system_is_refused_by_name_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, is_refused: bool
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / {tmp_path} rw - {kind} server:/export rw\n")
    monkeypatch.setattr(database, "MOUNTS", mounts)
    folder = tmp_path / "link"
    folder.symlink_to(tmp_path / "data", target_is_directory=True)
    (tmp_path / "data").mkdir()
    if not is_refused:
        await (await SqliteStore.open(folder)).close()
        return
    with pytest.raises(Misconfigured) as caught:
        await SqliteStore.open(folder)
    assert caught.value.reason is Reason.STORE_UNAVAILABLE
    assert kind in str(caught.value)
    assert "local disk" in str(caught.value)
    assert not list((tmp_path / "data").iterdir())
