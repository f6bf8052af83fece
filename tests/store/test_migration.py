from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from stepwired.conversation import Conversation, MessageView
from stepwired.events import Message, Role, ToolResult, ToolUse
from stepwired.store import codec, database
from stepwired.store.nouns import Appended, Created
from stepwired.store.sqlite import SqliteStore
from tests.store.talk import check_whole, read_changes, read_ids

NOW_NS = 1_700_000_000_000_000_000


def write_schema_1(folder: Path) -> None:
    """What the first version of this program left behind: conversations c0 and c1, each with a branch and a tool."""
    folder.mkdir()
    db = apsw.Connection(str(folder / "stepwire.db"))
    db.pragma("journal_mode", "wal")
    db.execute(f"BEGIN; {database.migrations()[1]}")
    db.execute(f"PRAGMA application_id = {database.APPLICATION_ID}; PRAGMA user_version = 1; COMMIT")
    for number in (1, 2):
        name = f"c{number - 1}"
        made = Conversation(name, "t", metadata={"user": name, "n": 1}, create_time_ns=NOW_NS + number * 1000)
        messages = [
            Message(text="hello fox", id="a"),
            Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "find", {"q": "fox"}), id="u", parent_id="a"),
            Message(role=Role.TOOL, tool_result=ToolResult("t", "a fox was found"), id="r", parent_id="u"),
            Message(text="a branch", id="b", parent_id="a"),
        ]
        time_us = made.create_time_ns // 1000
        db.execute(
            "INSERT INTO conversation VALUES (?, ?, ?, 5, 4, ?, ?, ?)",
            (number, name, (number << 32) + 4, time_us, time_us + 5, codec.encode_conversation(made)),
        )
        keys = {"": number << 32}
        for seq, message in enumerate(messages, 1):
            keys[message.id] = (number << 32) + seq
            row = (
                keys[message.id],
                keys[message.parent_id],
                number,
                message.id,
                1 + seq,
                message.id in {"r", "b"},
                message.role.value,
                message.tool_use.tool_id if message.tool_use else None,
                time_us,
                codec.encode_message(message),
            )
            db.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    db.close()


async def test_a_store_of_the_first_schema_opens_with_all_it_has_and_all_that_is_new(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_schema_1(folder)
    for _ in range(2):
        store = await SqliteStore.open(folder)
        found = await store.get("c0")
        assert (found.title, found.head_id, found.metadata) == ("t", "b", {"user": "c0", "n": 1})
        assert await read_ids(store, "c1", MessageView.ALL) == ["a", "u", "r", "b"]
        assert await read_ids(store, "c1") == ["a", "b"]
        assert [one.id for one in (await store.list())[0]] == ["c1", "c0"]
        assert [one.id for one in (await store.list(labels={"user": "c0"}))[0]] == ["c0"]
        hits, _ = await store.search("fox", conversation_id="c0")
        assert {hit.message_id for hit in hits} == {"a", "r"}
        created, *appended = await read_changes(store, "c0", 0, 5)
        assert isinstance(created, Created)
        assert created.conversation.metadata == {"user": "c0", "n": 1}
        assert [(change.message.id, change.moved_head) for change in appended if isinstance(change, Appended)] == [
            ("a", False),
            ("u", False),
            ("r", True),
            ("b", True),
        ]
        await check_whole(store)
        await store.close()
    store = await SqliteStore.open(folder)
    await store.update("c0", title="new", metadata={})
    await store.append("c0", [Message(text="fox too", id="x")])
    assert len(await read_changes(store, "c0", 0, 7)) == 7
    await store.delete("c1")
    assert {hit.message_id for hit in (await store.search("fox"))[0]} == {"a", "r", "x"}
    await check_whole(store)
    await store.close()


@pytest.mark.parametrize("fault", ["in SQL", "in a stored body"])
async def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    folder = tmp_path / "data"
    write_schema_1(folder)
    undo: Callable[[], None] = monkeypatch.undo
    if fault == "in SQL":
        broken = {number: sql + ("; SELECT no FROM such" if number == 2 else "") for number, sql in all_migrations()}
        monkeypatch.setattr(database, "migrations", lambda: broken)
    else:

        def fail(_: bytes) -> str:
            raise RuntimeError("cannot be read")

        monkeypatch.setattr(codec, "searchable_text", fail)
    with pytest.raises((apsw.Error, RuntimeError)):
        await SqliteStore.open(folder)
    undo()
    db = apsw.Connection(str(folder / "stepwire.db"))
    assert db.pragma("user_version") == 1
    assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'label'").fetchall() == [(0,)]
    db.close()
    store = await SqliteStore.open(folder)
    assert await read_ids(store, "c0") == ["a", "b"]
    await store.close()


def all_migrations() -> list[tuple[int, str]]:
    return list(database.migrations().items())
