"""Messages that are not kept: too many, too large, or such as could not be read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stepwired.conversation import MessageView
from stepwired.errors import Failure, InvalidRequest, NotFound, Reason
from stepwired.events import Message, Role, ToolUse
from stepwired.limits import Limits
from stepwired.store.sqlite import SqliteStore
from tests.store.talk import read_ids, said


async def test_a_create_with_a_bad_message_creates_nothing(store: SqliteStore) -> None:
    with pytest.raises(InvalidRequest):
        await store.create("c", messages=[*said("x"), Message()])
    with pytest.raises(NotFound):
        await store.get("c")


async def test_an_append_that_fails_leaves_nothing(store: SqliteStore) -> None:
    before, _ = await store.create("c", messages=said("a"))
    for bad in (Message(), Message(text="x", parent_id="nobody"), Message(text="other", id="a")):
        with pytest.raises(Failure):
            await store.append("c", [*said("b"), bad])
    assert await store.get("c") == before
    assert await read_ids(store, "c", MessageView.ALL) == ["a"]


async def test_a_conversation_is_full_at_its_limit_and_a_reply_has_its_room_kept(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path, limits=Limits(conversation_messages=3))
    await store.create("c", messages=said("a"))
    last = await store.begin_reply("c", said("b"))
    with pytest.raises(InvalidRequest) as caught:
        await store.begin_reply("c", said("d"))
    assert caught.value.violations[0].field == "messages"
    await store.append_reply("c", last, said("r"))
    with pytest.raises(InvalidRequest):
        await store.begin_reply("c", [])
    await store.close()


async def test_a_reply_that_was_begun_is_never_refused_for_lack_of_room(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path, limits=Limits(conversation_messages=3))
    await store.create("c", messages=said("a"))
    last = await store.begin_reply("c", said("b"))
    await store.append("c", said("meanwhile"))
    stored, _ = await store.append_reply("c", last, [Message(role=Role.ASSISTANT, text="r") for _ in range(129)])
    assert len(stored) == 129
    with pytest.raises(InvalidRequest):
        await store.append("c", said("more"))
    await store.close()


async def test_what_could_not_be_read_back_is_refused_and_leaves_nothing(store: SqliteStore) -> None:
    before, _ = await store.create("c", messages=said("q"))
    deep: dict[str, Any] = {}
    for _ in range(60):
        deep = {"a": deep}
    bad = [
        (Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "f", deep)), "tool_use.input"),
        (Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "f", {"n": 10**400})), "tool_use.input"),
        (Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "f", {"n": float("nan")})), "tool_use.input"),
        (Message(text="x", metadata=deep), "metadata"),
        (Message(text="half a pair: \ud83d"), ""),
    ]
    for message, part in bad:
        for call in (
            store.append("c", [Message(text="x"), message]),
            store.append_reply("c", "q", [message]),
            store.create("d", messages=[message]),
        ):
            with pytest.raises(InvalidRequest) as caught:
                await call
            assert caught.value.reason is Reason.INVALID_MESSAGE
            assert part in str(caught.value)
    for call in (store.create("d", metadata=deep), store.create("d", title="\ud83d")):
        with pytest.raises(InvalidRequest):
            await call
    assert await store.get("c") == before
    assert await read_ids(store, "c", MessageView.ALL) == ["q"]


async def test_a_message_that_no_reply_could_carry_is_refused(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path, limits=Limits(reply_bytes=10_000))
    await store.create("c", messages=said("q"))
    await store.append("c", [Message(text="x" * 8000)])
    # Small as JSON, large as a Struct.
    use = ToolUse("t", "f", {"numbers": [1] * 2000})
    for message in (Message(text="x" * 10_000), Message(role=Role.ASSISTANT, tool_use=use)):
        with pytest.raises(InvalidRequest) as caught:
            await store.append("c", [message])
        assert caught.value.violations[0].field == "messages[0]"
        assert "8976" in str(caught.value)
    assert (await store.get("c")).message_count == 2
    await store.close()
