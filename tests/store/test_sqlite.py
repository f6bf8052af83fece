"""What a store keeps is read back as it was made: conversations, messages, views, replies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from stepwired.conversation import MessageView
from stepwired.errors import Conflict, InvalidRequest, Misconfigured, NotFound, Reason
from stepwired.events import Message, MessageStatus, Role, ToolResult, ToolUse
from stepwired.store.sqlite import SqliteStore
from tests.store.talk import read_ids, said


async def test_what_was_created_is_read_back_the_same(store: SqliteStore) -> None:
    made, ids = await store.create("c", title="t", metadata={"a": [1, {"b": None}]}, messages=said("x", "y"))
    assert (made.id, made.title, made.head_id, made.revision, made.message_count) == ("c", "t", "y", 3, 2)
    assert ids == ("x", "y")
    assert await store.get("c") == made
    first = await store.message("c", "x")
    assert (first.text, first.parent_id, first.create_time_ns) == ("x", "", made.create_time_ns)


async def test_an_id_is_made_up_where_none_is_given_and_refused_where_it_is_taken(store: SqliteStore) -> None:
    made, ids = await store.create()
    assert (len(made.id), made.revision, made.head_id, ids) == (36, 1, "", ())
    with pytest.raises(Conflict) as caught:
        await store.create(made.id, title="other")
    assert caught.value.reason is Reason.CONVERSATION_EXISTS
    assert await store.get(made.id) == made


async def test_revision_counts_each_message_and_a_repeat_counts_nothing(store: SqliteStore) -> None:
    await store.create("c")
    after, _ = await store.append("c", said("a", "b", "c"))
    assert (after.revision, after.message_count, after.head_id) == (4, 3, "c")
    again, ids = await store.append("c", said("a", "b", "c"))
    assert (again, ids) == (after, ("a", "b", "c"))
    kept, _ = await store.append("c", said("d"), keep_head=True)
    assert (kept.revision, kept.head_id) == (5, "c")


async def test_what_does_not_exist_is_not_found_by_any_call(store: SqliteStore) -> None:
    await store.create("c", messages=said("a"))
    for call, reason in (
        (store.get("no"), Reason.CONVERSATION_NOT_FOUND),
        (store.append("no", said("x")), Reason.CONVERSATION_NOT_FOUND),
        (store.begin_reply("no", said("x")), Reason.CONVERSATION_NOT_FOUND),
        (store.begin_reply("c", said("x"), parent_id="no"), Reason.MESSAGE_NOT_FOUND),
        (store.begin_reply("c", [], parent_id="no"), Reason.MESSAGE_NOT_FOUND),
        (store.append_reply("no", "a", said("x")), Reason.CONVERSATION_NOT_FOUND),
        (store.append_reply("c", "no", said("x")), Reason.MESSAGE_NOT_FOUND),
        (store.message("no", "a"), Reason.CONVERSATION_NOT_FOUND),
        (store.message("c", "no"), Reason.MESSAGE_NOT_FOUND),
        (read_ids(store, "no"), Reason.CONVERSATION_NOT_FOUND),
        (read_ids(store, "c", MessageView.PATH_TO, "no"), Reason.MESSAGE_NOT_FOUND),
    ):
        with pytest.raises(NotFound) as caught:
            await call
        assert caught.value.reason is reason
    assert await read_ids(store, "c", MessageView.ALL) == ["a"]


async def test_each_view_shows_its_messages(store: SqliteStore) -> None:
    await store.create("c", messages=said("a", "b", "c"))
    await store.append("c", [Message(text="x", id="b2", parent_id="a"), Message(text="x", id="c2")])
    await store.append("c", [Message(text="x", id="d", parent_id="c")], keep_head=True)
    assert await read_ids(store, "c") == ["a", "b2", "c2"]
    assert await read_ids(store, "c", MessageView.PATH_TO, "b") == ["a", "b"]
    assert await read_ids(store, "c", MessageView.LEFTMOST) == ["a", "b", "c", "d"]
    assert await read_ids(store, "c", MessageView.ALL) == ["a", "b", "c", "b2", "c2", "d"]


async def test_a_conversation_without_messages_shows_none_in_any_view(store: SqliteStore) -> None:
    await store.create("c")
    for view in (MessageView.HEAD_PATH, MessageView.LEFTMOST, MessageView.ALL):
        assert await read_ids(store, "c", view) == []


async def test_conversations_do_not_see_each_other(store: SqliteStore) -> None:
    await store.create("c", messages=[Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "find", {}), id="a")])
    await store.create("d", messages=said("a", "b"))
    with pytest.raises(InvalidRequest):
        await store.append("d", [Message(role=Role.TOOL, tool_result=ToolResult("t", "42"))])
    assert await read_ids(store, "c", MessageView.ALL) == ["a"]
    assert await read_ids(store, "d", MessageView.ALL) == ["a", "b"]


async def test_times_of_any_year_are_kept_to_the_nanosecond(store: SqliteStore) -> None:
    times = [-62_135_596_800 * 10**9, -1, 253_402_300_799_999_999_999]
    messages = [Message(text="x", id=str(time), create_time_ns=time) for time in times]
    await store.create("c", messages=messages)
    assert [(await store.message("c", str(time))).create_time_ns for time in times] == times


@pytest.mark.parametrize("failing", [1, 3])
async def test_a_reader_that_cannot_be_opened_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    opened: list[apsw.Connection] = []

    class Scarce(apsw.Connection):
        def __init__(self, *args: Any, **more: Any) -> None:
            if more["flags"] & apsw.SQLITE_OPEN_READONLY and len(opened) == failing:
                raise apsw.CantOpenError
            super().__init__(*args, **more)
            opened.append(self)

    monkeypatch.setattr(apsw, "Connection", Scarce)
    with pytest.raises(Misconfigured) as caught:
        await SqliteStore.open(tmp_path)
    assert caught.value.reason is Reason.STORE_UNAVAILABLE
    for db in opened:
        with pytest.raises(apsw.ConnectionClosedError):
            db.pragma("user_version")
    monkeypatch.undo()
    await (await SqliteStore.open(tmp_path)).close()


async def test_a_reply_moves_the_head_only_from_the_message_it_answers(store: SqliteStore) -> None:
    await store.create("c")
    one = await store.begin_reply("c", said("q1"))
    two = await store.begin_reply("c", said("q2"))
    first, branched = await store.append_reply("c", one, [Message(role=Role.ASSISTANT, text="r1")])
    assert (first[0].parent_id, branched, (await store.get("c")).head_id) == ("q1", True, "q2")
    second, branched = await store.append_reply("c", two, [Message(role=Role.ASSISTANT, text="r2"), *said("r3")])
    assert [message.parent_id for message in second] == ["q2", second[0].id]
    assert (branched, (await store.get("c")).head_id) == (False, "r3")


async def test_there_must_be_something_to_reply_to(store: SqliteStore) -> None:
    await store.create("c")
    with pytest.raises(InvalidRequest) as caught:
        await store.begin_reply("c", [])
    assert caught.value.reason is Reason.INVALID_CONVERSATION
    await store.append("c", said("a", "b"))
    assert await store.begin_reply("c", []) == "b"
    assert await store.begin_reply("c", [], parent_id="a") == "a"
    assert (await store.get("c")).message_count == 2


async def test_the_status_of_a_message_is_kept(store: SqliteStore) -> None:
    await store.create("c", messages=said("q"))
    partial = Message(role=Role.ASSISTANT, text="So", status=MessageStatus.INTERRUPTED)
    stored, _ = await store.append_reply("c", "q", [partial])
    assert await store.message("c", stored[0].id) == stored[0]
    assert stored[0].status is MessageStatus.INTERRUPTED


@pytest.mark.parametrize("view", list(MessageView))
async def test_only_the_view_to_a_message_takes_one_and_needs_it(store: SqliteStore, view: MessageView) -> None:
    await store.create("c", messages=said("m"))
    wants = view is MessageView.PATH_TO
    assert await read_ids(store, "c", view, "m" if wants else "") == ["m"]
    with pytest.raises(InvalidRequest) as caught:
        await read_ids(store, "c", view, "" if wants else "m")
    [violation] = caught.value.violations
    assert (violation.field, violation.reason) == (
        "message_id",
        Reason.FIELD_REQUIRED if wants else Reason.FIELD_INVALID,
    )
