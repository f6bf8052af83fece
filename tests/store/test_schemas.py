"""Schemas of the file: numbered, migrated with what they fill in, and left alone where a newer program made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from stepwired.errors import Broken, Misconfigured, Reason
from stepwired.events import Message
from stepwired.store import codec, database
from stepwired.store.sqlite import SqliteStore


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
