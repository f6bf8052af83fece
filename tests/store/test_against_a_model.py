"""Any sequence of calls does to the store what it does to a list in memory."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwired.conversation import MessageView
from stepwired.errors import Conflict, Failure, InvalidRequest, NotFound
from stepwired.events import Message, Role, ToolResult, ToolUse
from stepwired.limits import Limits
from stepwired.store.base import ConversationStore
from stepwired.store.sqlite import SqliteStore

LIMIT = 12
NAMES = [f"m{number}" for number in range(6)]


@dataclass(frozen=True)
class New:
    """A message to append. Ids and parents come from few names, so that they meet."""

    name: str
    parent: str
    words: str
    """`use` and `result` stand for a tool's; an empty one is a fault."""

    def message(self) -> Message:
        if self.words == "use":
            made = Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "find", {}))
        elif self.words == "result":
            made = Message(role=Role.TOOL, tool_result=ToolResult("t", "42"))
        else:
            made = Message(text=self.words)
        return replace(made, id=self.name, parent_id=self.parent)


@dataclass(frozen=True)
class Call:
    kind: str
    conversation: str
    new: tuple[New, ...] = ()
    parent: str = ""
    flag: bool = False


NEW = st.builds(
    New,
    st.sampled_from(NAMES),
    st.sampled_from(["", "", "", *NAMES]),
    st.sampled_from(["a", "a", "b", "use", "result", ""]),
)
CALLS = st.lists(
    st.builds(
        Call,
        st.sampled_from(["create", "append", "append", "append", "orphans", "begin", "reply"]),
        st.sampled_from(["c", "d"]),
        st.lists(NEW, max_size=3).map(tuple),
        st.sampled_from(["", *NAMES]),
        st.booleans(),
    ),
    max_size=25,
)


@dataclass
class Tree:
    """A conversation, written down as plainly as can be."""

    order: list[str] = field(default_factory=list)
    parent: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    head: str = ""
    revision: int = 1

    def path(self, name: str) -> list[str]:
        return [*self.path(self.parent[name]), name] if name else []

    def leftmost(self) -> list[str]:
        found: list[str] = []
        name = ""
        while children := [child for child in self.order if self.parent[child] == name]:
            name = children[0]
            found.append(name)
        return found

    def append(
        self, new: tuple[New, ...], parent: str, *, keep_head: bool, allow_orphan: bool, limit: int
    ) -> list[str]:
        """Append, or raise the first of the kinds of failure that there is cause for; then nothing has changed."""
        place = {one.name: index for index, one in reversed(list(enumerate(new)))}
        if (
            len(place) < len(new)
            or (new and parent and new[0].parent not in {"", parent})
            or any(not one.words or one.parent == one.name for one in new)
            or any(place.get(one.parent, index) > index for index, one in enumerate(new))
        ):
            raise Caused(InvalidRequest)
        tree = Tree(list(self.order), dict(self.parent), dict(self.words))
        causes: set[type[Failure]] = set()
        lost: set[str] = set()  # below a parent that does not exist
        before = parent
        for one in new:
            at, before = one.parent or before, one.name
            if one.name in self.parent:
                if at not in {"", self.parent[one.name]} or one.words != self.words[one.name]:
                    causes.add(Conflict)
                continue
            at = at or self.head
            if not at and tree.order:
                causes.add(InvalidRequest)
            if at and (at not in tree.parent or at in lost):
                causes |= {NotFound}
                lost.add(one.name)
            elif one.words == "result" and not allow_orphan:
                causes |= set() if "use" in [tree.words[up] for up in tree.path(at)] else {InvalidRequest}
            tree.order.append(one.name)
            tree.parent[one.name], tree.words[one.name], tree.head = at, one.words, one.name
        if len(tree.order) > limit:
            causes.add(InvalidRequest)
        if causes:
            raise next(Caused(cause) for cause in (InvalidRequest, NotFound, Conflict) if cause in causes)
        self.revision += len(tree.order) - len(self.order)
        self.order, self.parent, self.words = tree.order, tree.parent, tree.words
        self.head = tree.head if tree.head and not keep_head else self.head
        return [one.name for one in new]


class Caused(Exception):
    """What the model says the store must raise."""

    def __init__(self, kind: type[Failure]) -> None:
        super().__init__(kind)
        self.kind = kind


def in_memory(trees: dict[str, Tree], call: Call) -> object:
    if call.kind == "create":
        if call.conversation in trees:
            raise Caused(Conflict)
        tree = Tree()
        ids = tree.append(call.new, "", keep_head=False, allow_orphan=call.flag, limit=LIMIT)
        trees[call.conversation] = tree
        return ids
    if call.conversation not in trees:
        raise Caused(NotFound)
    tree = trees[call.conversation]
    if call.kind in {"append", "orphans"}:
        orphans = call.kind == "orphans"
        return tree.append(call.new, "", keep_head=call.flag, allow_orphan=orphans, limit=LIMIT)
    if call.kind == "begin":
        ids = tree.append(call.new, call.parent, keep_head=False, allow_orphan=False, limit=LIMIT - 1)
        last = [*ids, call.parent or tree.head][0 if not ids else len(ids) - 1]
        if not last:
            raise Caused(InvalidRequest)
        if last not in tree.parent:
            raise Caused(NotFound)
        return last
    branched = tree.head != call.parent
    return tree.append(call.new, call.parent, keep_head=branched, allow_orphan=True, limit=LIMIT), branched


async def in_store(store: ConversationStore, call: Call) -> object:
    messages = [one.message() for one in call.new]
    name = call.conversation
    if call.kind == "create":
        return list((await store.create(name, messages=messages, allow_orphan=call.flag))[1])
    if call.kind in {"append", "orphans"}:
        orphans = call.kind == "orphans"
        return list((await store.append(name, messages, keep_head=call.flag, allow_orphan=orphans))[1])
    if call.kind == "begin":
        return await store.begin_reply(name, messages, parent_id=call.parent)
    _, branched = await store.append_reply(name, call.parent, messages)
    return [one.name for one in call.new], branched


async def check(store: ConversationStore, name: str, tree: Tree) -> None:
    async def read(view: MessageView, to: str = "") -> list[Message]:
        return [message async for page in store.messages(name, view, to) for message in page]

    found = await store.get(name)
    assert (found.head_id, found.revision, found.message_count) == (tree.head, tree.revision, len(tree.order))
    everything = await read(MessageView.ALL)
    assert [message.id for message in everything] == tree.order
    assert {message.id: message.parent_id for message in everything} == tree.parent
    assert [message.id for message in await read(MessageView.HEAD_PATH)] == tree.path(tree.head)
    assert [message.id for message in await read(MessageView.LEFTMOST)] == tree.leftmost()
    for message in everything:
        assert await store.message(name, message.id) == message
        assert [step.id for step in await read(MessageView.PATH_TO, message.id)] == tree.path(message.id)


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
        finally:
            await store.close()
