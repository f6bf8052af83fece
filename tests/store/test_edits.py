from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from stepwired.conversation import Conversation, MessageView
from stepwired.errors import Conflict, InvalidRequest, NotFound, Reason
from stepwired.events import Image, Json, Message, MessageStatus, Role, ToolResult, ToolUse
from stepwired.limits import Limits
from stepwired.store.nouns import Request
from stepwired.store.sqlite import SqliteStore
from tests.store.talk import TABLES, check_whole, count_rows, on_writer, read_ids, said


async def test_an_update_changes_what_it_names_as_one_change(store: SqliteStore) -> None:
    await store.create("c", title="t", metadata={"a": 1, "b": {"x": 1, "y": 2}}, messages=said("m", "n"))
    titled = await store.update("c", title="")
    assert (titled.title, titled.revision, titled.metadata) == ("", 4, {"a": 1, "b": {"x": 1, "y": 2}})
    merged = await store.update("c", metadata={"a": None, "b": {"x": None, "z": [None]}, "c": {}}, merge=True)
    assert (merged.metadata, merged.revision) == ({"b": {"y": 2, "z": [None]}, "c": {}}, 5)
    replaced = await store.update("c", title="u", metadata={"k": None}, head_id="m")
    assert (replaced.title, replaced.metadata, replaced.head_id, replaced.revision) == ("u", {"k": None}, "m", 6)
    assert await store.get("c") == replaced
    await store.append("c", said("o"))
    assert await read_ids(store, "c") == ["m", "o"]


async def test_a_head_must_exist(store: SqliteStore) -> None:
    before, _ = await store.create("c", messages=said("m"))
    for head_id in ("", "no"):
        with pytest.raises(NotFound) as caught:
            await store.update("c", title="x", head_id=head_id)
        assert caught.value.reason is Reason.MESSAGE_NOT_FOUND
    assert await store.get("c") == before


async def test_a_message_changes_but_for_its_content(store: SqliteStore) -> None:
    use = Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "find", {"q": [1]}), id="m", metadata={"a": 1})
    await store.create("c", messages=[use])
    before = await store.message("c", "m")
    after, revision = await store.update_message("c", "m", metadata={"b": 2}, merge=True)
    assert (after.metadata, revision, after.tool_use, after.status) == (
        {"a": 1, "b": 2},
        3,
        use.tool_use,
        before.status,
    )
    assert after.update_time_ns > before.update_time_ns
    after, revision = await store.update_message("c", "m", status=MessageStatus.INTERRUPTED)
    assert (after.metadata, after.status, revision) == ({"a": 1, "b": 2}, MessageStatus.INTERRUPTED, 4)
    after, _ = await store.update_message("c", "m", metadata={})
    assert (after.metadata, after.status) == ({}, MessageStatus.INTERRUPTED)
    assert await store.message("c", "m") == after
    assert (await store.get("c")).update_time_ns == after.update_time_ns
    for name, message_id in (("no", "m"), ("c", "no")):
        with pytest.raises(NotFound):
            await store.update_message(name, message_id, metadata={})


@pytest.mark.parametrize("patch", [{"new": "x" * 400}, {f"k{number}": 1 for number in range(8)}])
async def test_metadata_must_keep_its_limits_once_merged(tmp_path: Any, patch: dict[str, Any]) -> None:
    store = await SqliteStore.open(tmp_path, limits=Limits(metadata_bytes=500, metadata_keys=10))
    full: dict[str, Json] = {"old": "x" * 200, "a": [{"b": 1}]}
    await store.create("c", metadata=full, messages=[Message(text="x", id="m", metadata=full)])
    for call, field in (
        (store.update("c", metadata=patch, merge=True), "conversation.metadata"),
        (store.update_message("c", "m", metadata=patch, merge=True), "metadata"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            await call
        [violation] = caught.value.violations
        assert (violation.field, violation.reason) == (field, Reason.INVALID_METADATA)
    assert (await store.update("c", metadata=patch)).revision == 3
    await store.close()


Write = Callable[[SqliteStore, int], Awaitable[object]]
WRITES: dict[str, Write] = {
    "append": lambda store, revision: store.append("c", [Message(text="x")], if_revision=revision),
    "begin_reply": lambda store, revision: store.begin_reply("c", [Message(text="x")], if_revision=revision),
    "update": lambda store, revision: store.update("c", title="x", if_revision=revision),
    "update_message": lambda store, revision: store.update_message("c", "m", metadata={}, if_revision=revision),
    "delete": lambda store, revision: store.delete("c", if_revision=revision),
}


@pytest.mark.parametrize("name", WRITES)
async def test_a_stale_writer_is_told_the_revision_and_changes_nothing(store: SqliteStore, name: str) -> None:
    before, _ = await store.create("c", messages=said("m"))
    for stale in (0, 1, 3):
        with pytest.raises(Conflict) as caught:
            await WRITES[name](store, stale)
        assert caught.value.reason is Reason.REVISION_MISMATCH
        assert caught.value.metadata == {"revision": "2"}
    assert await store.get("c") == before
    await WRITES[name](store, 2)


async def test_deleting_leaves_nothing(store: SqliteStore) -> None:
    empty = await count_rows(store)
    blob_id = await store.put_blob(Image(), b"x")
    message = Message(text="hello", id="m", images=(Image(blob_id=blob_id),))
    await store.create("c", metadata={"user": "ada"}, messages=[message], request=Request("r", b""))
    await store.append("c", said("n"), request=Request("r", b""))
    await store.update("c", title="t", metadata={"user": "bob"})
    await store.update_message("c", "m", metadata={"k": 1})
    assert all((await count_rows(store)).values()), TABLES
    await store.delete("c")
    assert await count_rows(store) == empty | {"request": 2}, "that they were asked, and no more"
    await check_whole(store)
    for call in (store.get("c"), store.delete("c"), store.update("c"), store.append("c", said("x"))):
        with pytest.raises(NotFound):
            await call
    made, _ = await store.create("c", request=Request("new", b""))
    assert (made.revision, made.message_count, made.title) == (1, 0, "")


async def test_deleting_one_of_two_leaves_the_other_whole(store: SqliteStore) -> None:
    await store.create("c", metadata={"user": "ada"}, messages=said("m", "n"))
    await store.fork("c", new_id="d")
    await store.update("d", title="t")
    before = await store.get("d")
    await store.delete("c")
    assert await store.get("d") == before
    assert await read_ids(store, "d") == ["m", "n"]
    assert len((await store.search("m"))[0]) == 1
    assert len((await store.list(labels={"user": "ada"}))[0]) == 1
    await check_whole(store)


# --- copies ---


async def test_a_fork_copies_the_path_and_nothing_else_and_goes_its_own_way(store: SqliteStore) -> None:
    await store.create("c", title="t", metadata={"k": [1]}, messages=said("a", "b", "c"))
    await store.append("c", [Message(text="x", id="b2", parent_id="a", metadata={"m": 1})])
    await store.update_message("c", "a", status=MessageStatus.INTERRUPTED)
    copy = await store.fork("c", "b2", new_id="d", title="fork")
    assert (copy.title, copy.metadata, copy.head_id, copy.revision) == ("fork", {"k": [1]}, "b2", 3)
    assert copy == await store.get("d")
    assert await read_ids(store, "d", MessageView.ALL) == ["a", "b2"]
    for name in ("a", "b2"):
        assert await store.message("d", name) == await store.message("c", name)
    await store.append("d", said("c"))
    await store.update_message("d", "a", metadata={"own": True})
    assert (await store.message("c", "a")).metadata == {}
    assert await read_ids(store, "c", MessageView.ALL) == ["a", "b", "c", "b2"]
    whole = await store.fork("c")
    assert (whole.title, whole.head_id, whole.message_count) == ("t", "b2", 2)
    assert (await store.fork("c", title="")).title == ""
    await check_whole(store)


async def test_a_fork_keeps_tool_uses_findable_for_their_results(store: SqliteStore) -> None:
    await store.create("c", messages=[Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "find", {}))])
    await store.fork("c", new_id="d")
    await store.append("d", [Message(role=Role.TOOL, tool_result=ToolResult("t", "42"))])


async def test_an_empty_conversation_forks_to_an_empty_one(store: SqliteStore) -> None:
    await store.create("c", title="t")
    copy = await store.fork("c", new_id="d")
    assert (copy.message_count, copy.head_id, copy.revision, copy.title) == (0, "", 1, "t")
    await store.append("d", said("a"))


async def test_a_fork_says_what_is_missing_or_taken(store: SqliteStore) -> None:
    await store.create("c", messages=said("a"))
    for call, reason in (
        (store.fork("no"), Reason.CONVERSATION_NOT_FOUND),
        (store.fork("c", "no"), Reason.MESSAGE_NOT_FOUND),
    ):
        with pytest.raises(NotFound) as caught:
            await call
        assert caught.value.reason is reason
    with pytest.raises(Conflict) as taken:
        await store.fork("c", new_id="c")
    assert taken.value.reason is Reason.CONVERSATION_EXISTS
    assert (await count_rows(store))["message"] == 1


# --- imports ---


async def test_an_import_keeps_ids_times_status_branches_and_head(store: SqliteStore) -> None:
    await store.create("c", title="t", metadata={"k": 1}, messages=said("a", "b"))
    await store.append("c", [Message(text="x", id="b2", parent_id="a", create_time_ns=-1)], keep_head=True)
    await store.append("c", [Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "n", {"x": [1]}), id="u")])
    await store.append("c", [Message(role=Role.TOOL, tool_result=ToolResult("t", "r", is_error=True))])
    await store.update_message("c", "b", status=MessageStatus.INTERRUPTED, metadata={"m": None})
    await store.update("c", head_id="b2")
    exported = await store.get("c")
    messages = [message async for page in store.messages("c", MessageView.ALL) for message in page]
    await store.delete("c")
    made = await store.import_(exported, messages)
    assert [message async for page in store.messages("c", MessageView.ALL) for message in page] == messages
    assert (made.title, made.metadata, made.head_id) == ("t", {"k": 1}, "b2")
    assert (made.create_time_ns, made.revision) == (exported.create_time_ns, 1 + len(messages))
    await check_whole(store)


async def test_an_import_makes_up_what_is_missing(store: SqliteStore) -> None:
    made = await store.import_(Conversation(""), [Message(text="a"), Message(text="b", id="b")], as_line=True)
    first, second = [message async for page in store.messages(made.id) for message in page]
    assert (second.parent_id, second.id, made.head_id) == (first.id, "b", "b")
    assert len(made.id) == len(first.id) == 36
    assert first.create_time_ns == first.update_time_ns == made.create_time_ns


async def test_an_import_may_have_several_first_messages(store: SqliteStore) -> None:
    made = await store.import_(Conversation("c"), [*said("a", "b"), Message(text="x", id="x", parent_id="a")])
    assert await read_ids(store, "c", MessageView.ALL) == ["a", "b", "x"]
    assert await read_ids(store, "c") == ["a", "x"]
    assert await read_ids(store, "c", MessageView.LEFTMOST) == ["a", "x"]
    assert await read_ids(store, "c", MessageView.PATH_TO, "b") == ["b"]
    assert made.message_count == 3


async def test_an_import_is_all_or_nothing(tmp_path: Any) -> None:
    store = await SqliteStore.open(tmp_path, limits=Limits(conversation_messages=3))
    for messages, head_id, fields in (
        ([*said("a"), Message(id="b")], "", {"messages[1]"}),
        ([Message(text="x", id="a", parent_id="no"), Message()], "", {"messages[0].parent_id", "messages[1]"}),
        ([Message(text="x", id="a", parent_id="b"), *said("b")], "", {"messages[0].parent_id"}),
        (said("a", "a"), "", {"messages[1].id"}),
        (said("a"), "b", {"conversation.head_id"}),
        (said("a", "b", "c", "d"), "", {"messages"}),
    ):
        with pytest.raises(InvalidRequest) as caught:
            await store.import_(Conversation("c", head_id=head_id), messages)
        assert {violation.field for violation in caught.value.violations} == fields
    await store.create("taken")
    with pytest.raises(Conflict):
        await store.import_(Conversation("taken"), said("a"))
    assert (await count_rows(store))["message"] == 0
    assert await on_writer(store, "SELECT id FROM conversation") == [("taken",)]
    await store.close()
