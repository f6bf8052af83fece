"""Any sequence of calls does to the store what it does to a list in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwired.conversation import MessageView
from stepwired.events import Message
from stepwired.limits import Limits
from stepwired.store.base import ConversationStore
from stepwired.store.nouns import Appended, Change, ConversationUpdated, MessageUpdated
from stepwired.store.sqlite import SqliteStore
from tests.store.model import LIMIT, Call, Caused, New, Tree, in_memory
from tests.store.talk import check_whole, read_changes

NAMES = [f"m{number}" for number in range(6)]


KINDS = [
    "create",
    "append",
    "append",
    "append",
    "orphans",
    "begin",
    "reply",
    "update",
    "mark",
    "mark",
    "fork",
    "delete",
]

NEW = st.builds(
    New,
    st.sampled_from(NAMES),
    st.sampled_from(["", "", "", *NAMES]),
    st.sampled_from(["a", "a", "b", "use", "result", ""]),
)
CALLS = st.lists(
    st.builds(
        Call,
        st.sampled_from(KINDS),
        st.sampled_from(["c", "d"]),
        st.lists(NEW, max_size=3).map(tuple),
        st.sampled_from(["", *NAMES]),
        st.booleans(),
    ),
    max_size=25,
)


async def in_store(store: ConversationStore, call: Call) -> object:
    messages = [one.message() for one in call.new]
    name = call.conversation
    if call.kind == "create":
        return list((await store.create(name, messages=messages, allow_orphan=call.flag))[1])
    if call.kind in {"append", "orphans"}:
        orphans = call.kind == "orphans"
        return list((await store.append(name, messages, keep_head=call.flag, allow_orphan=orphans))[1])
    if call.kind == "delete":
        await store.delete(name)
        return None
    if call.kind == "fork":
        return (await store.fork(name, call.parent, new_id="d" if name == "c" else "c")).head_id
    if call.kind == "update":
        text = "yes" if call.flag else "no"
        head_id = call.parent or None
        return (await store.update(name, title=text, metadata={"label": text}, merge=True, head_id=head_id)).revision
    if call.kind == "mark":
        return (await store.update_message(name, call.parent or "m0", metadata={"n": int(call.flag)}))[1]
    if call.kind == "begin":
        return await store.begin_reply(name, messages, parent_id=call.parent)
    _, branched = await store.append_reply(name, call.parent, messages)
    return [one.name for one in call.new], branched


async def check(store: ConversationStore, name: str, tree: Tree) -> None:
    async def read(view: MessageView, to: str = "") -> list[Message]:
        return [message async for page in store.messages(name, view, to) for message in page]

    found = await store.get(name)
    assert (found.head_id, found.revision, found.message_count) == (tree.head, tree.revision, len(tree.order))
    assert (found.title, found.metadata) == (tree.title, {"label": tree.label} if tree.label else {})
    everything = await read(MessageView.ALL)
    assert [message.id for message in everything] == tree.order
    assert {message.id: message.parent_id for message in everything} == tree.parent
    assert [message.id for message in await read(MessageView.HEAD_PATH)] == tree.path(tree.head)
    assert [message.id for message in await read(MessageView.LEFTMOST)] == tree.leftmost()
    for message in everything:
        assert await store.message(name, message.id) == message
        assert message.metadata.get("n") == tree.marks.get(message.id)
        assert [step.id for step in await read(MessageView.PATH_TO, message.id)] == tree.path(message.id)

    changes = await read_changes(store, name, 0, tree.revision)
    assert [change.revision for change in changes] == list(range(1, tree.revision + 1))
    assert [told(change) for change in changes] == tree.log


def told(change: Change) -> str:
    match change:
        case Appended(message=message, moved_head=moved_head):
            return f"{'+' if moved_head else '-'}{message.id}"
        case MessageUpdated(message=message):
            return f"{message.id} marked"
        case ConversationUpdated(conversation=conversation):
            return f"{conversation.title} at {conversation.head_id}"
        case _:
            return "created"


async def check_index(store: ConversationStore, trees: dict[str, Tree]) -> None:
    """Lists and search show what there is, and nothing of what was."""
    listed, _ = await store.list()
    assert {conversation.id for conversation in listed} == set(trees)
    for label in ("yes", "no"):
        listed, _ = await store.list(labels={"label": label})
        assert {conversation.id for conversation in listed} == {name for name in trees if trees[name].label == label}
    for word in ("a", "b", "42"):
        hits, _ = await store.search(word, page_size=100)
        assert {(hit.conversation_id, hit.message_id) for hit in hits} == {
            (name, one)
            for name, tree in trees.items()
            for one, words in tree.words.items()
            if {"result": "42"}.get(words, words) == word
        }


@settings(max_examples=150, deadline=None)
@given(CALLS)
async def test_the_store_does_what_a_list_would(calls: list[Call]) -> None:
    limits = Limits(conversation_messages=LIMIT, stream_message_bytes=100)
    with tempfile.TemporaryDirectory() as folder:
        store = await SqliteStore.open(Path(folder), limits=limits, durability="relaxed")
        try:
            trees: dict[str, Tree] = {}
            for call in calls:
                try:
                    expected = in_memory(trees, call)
                except Caused as cause:
                    with pytest.raises(cause.kind):
                        await in_store(store, call)
                else:
                    assert await in_store(store, call) == expected
            for name, tree in trees.items():
                await check(store, name, tree)
            await check_index(store, trees)
            await check_whole(store)
        finally:
            await store.close()
