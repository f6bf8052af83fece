"""The rules of a conversation's tree: what may be appended, and what that does."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from stepwired.conversation.metadata import compact_json
from stepwired.errors import Conflict, InvalidRequest, NotFound, Reason, Subject, Violation
from stepwired.events import Message, Role


class Tree(Protocol):
    """What the rules have to know about one conversation as it is stored."""

    @property
    def head_id(self) -> str:
        """The head; empty if there is none."""

    @property
    def message_count(self) -> int:
        """How many messages there are, all branches together."""

    def find(self, message_id: str) -> Message | None:
        """The message with this id, if there is one."""

    def has_tool_use(self, tool_id: str, message_id: str) -> bool:
        """Whether the tool was used on the path from the first message to `message_id`, which exists."""


@dataclass(frozen=True, slots=True)
class Growth:
    """What an append comes to."""

    ids: tuple[str, ...]
    """Of all messages asked for, in their order, also of those that had been appended before."""

    new: tuple[Message, ...]
    """The messages to be stored, in order, each with its id, parent and times."""

    head_id: str
    """The head afterwards."""


def role_named(name: str, *, tool_use: bool = False, tool_result: bool = False) -> Role | None:
    """The role that a caller wrote, or the default where nothing was written; None if there is no such role."""
    if name:
        return next((role for role in Role if role.value == name), None)
    return Role.TOOL if tool_result else Role.ASSISTANT if tool_use else Role.USER


def is_empty(message: Message) -> bool:
    """Whether the message has no content at all; thoughts of a model are content."""
    return not (message.text or message.images or message.reasoning or message.tool_use or message.tool_result)


def check_messages(messages: Sequence[Message], path: str = "messages") -> list[Violation]:
    """The faults of new messages that show without looking at the conversation.

    Args:
        messages: In the order of the request.
        path: Field of the request that holds them.
    """
    places: dict[str, int] = {}
    for index, message in enumerate(messages):
        if message.id:
            places.setdefault(message.id, index)
    found: list[Violation] = []

    def fault(index: int, part: str, description: str) -> None:
        found.append(Violation(f"{path}[{index}]{part}", description, Reason.INVALID_MESSAGE))

    for index, message in enumerate(messages):
        contents = (message.text or message.images, message.tool_use, message.tool_result)
        if is_empty(message):
            fault(index, "", "has no content: set text, images, tool_use or tool_result")
        elif sum(map(bool, contents)) > 1:
            fault(index, "", "has more than one of text or images, tool_use and tool_result: send a message for each")
        if message.reasoning and message.role is not Role.ASSISTANT:
            fault(index, ".reasoning", f"belongs to messages of the assistant, and this one's role is {message.role}")
        if message.id and places[message.id] != index:
            fault(index, ".id", f"`{message.id}` is also the id of {path}[{places[message.id]}]")
        if message.parent_id and message.parent_id == message.id:
            fault(index, ".parent_id", f"`{message.id}` cannot be its own parent")
        elif places.get(message.parent_id, index) > index:
            fault(index, ".parent_id", f"`{message.parent_id}` comes later in this request: parents go first")
    return found


def grow(
    tree: Tree,
    messages: Sequence[Message],
    *,
    now_ns: int,
    message_limit: int,
    parent_id: str = "",
    keep_head: bool = False,
    allow_orphan: bool = False,
) -> Growth:
    """Decide what appending `messages` does to the tree, or why it cannot be done.

    A message without parent follows the one before it; the first follows `parent_id`, or else the head. A message
    whose id is there already with the same content and parent (metadata and times aside, because those may change)
    was appended before and stays as it is; the head moves to the last message that is new, so that repeating an
    append never moves it back.

    Raises:
        InvalidRequest: All faults of the messages at once.
        NotFound: MESSAGE_NOT_FOUND, a parent.
        Conflict: MESSAGE_ID_EXISTS.
    """
    work = _Grower(tree, now_ns, allow_orphan, check_messages(messages))
    if messages and parent_id and messages[0].parent_id not in {"", parent_id}:
        work.fault(0, "parent_id", f"contradicts the request's `parent_id`, which is `{parent_id}`")
    before = parent_id
    for index, message in enumerate(messages):
        before = work.add(index, message, before)
    if (count := tree.message_count + len(work.new)) > message_limit:
        text = f"would make {count} messages, and a conversation holds at most {message_limit}: begin another"
        work.faults.append(Violation("messages", text))
    if work.faults:
        raise InvalidRequest.of(work.faults)
    # What is missing comes before what is doubled: it may be why.
    if failure := next(iter([*work.missing, *work.doubled]), None):
        raise failure
    head_id = next(reversed(work.new)) if work.new and not keep_head else tree.head_id
    return Growth(tuple(work.ids), tuple(work.new.values()), head_id)


def plant(
    messages: Sequence[Message], *, now_ns: int, message_limit: int, head_id: str = "", as_line: bool = False
) -> Growth:
    """Decide what importing `messages` into an empty conversation makes, or why it cannot be done.

    Ids, parents, times and status stay as given, tool results need no use before them, and there may be several first
    messages. What is missing is made up: ids, times, and, with `as_line`, parents.

    Args:
        messages: Parents before children.
        now_ns: For messages without a time.
        message_limit: How many there may be.
        head_id: The head; the last message if empty.
        as_line: Each message follows the one before it.

    Raises:
        InvalidRequest: All faults of the messages at once.
    """
    faults = check_messages(messages)
    if len(messages) > message_limit:
        text = f"are {len(messages)} messages, and a conversation holds at most {message_limit}"
        faults.append(Violation("messages", text))
    given = {message.id for message in messages}
    new: dict[str, Message] = {}
    before = ""
    for index, message in enumerate(messages):
        parent_id = before if as_line else message.parent_id
        if not as_line and parent_id and parent_id not in given:
            text = f"`{parent_id}` is none of the messages"
            faults.append(Violation(f"messages[{index}].parent_id", text, Reason.INVALID_MESSAGE))
        before = message.id or str(uuid.uuid4())
        create_time_ns = message.create_time_ns or now_ns
        new[before] = replace(
            message,
            id=before,
            parent_id=parent_id,
            create_time_ns=create_time_ns,
            update_time_ns=message.update_time_ns or create_time_ns,
        )
    if head_id and head_id not in new:
        text = f"`{head_id}` is none of the messages"
        faults.append(Violation("conversation.head_id", text, Reason.INVALID_MESSAGE))
    if faults:
        raise InvalidRequest.of(faults)
    return Growth(tuple(new), tuple(new.values()), head_id or before)


@dataclass(slots=True)
class _Grower:
    tree: Tree
    now_ns: int
    allow_orphan: bool
    faults: list[Violation]
    missing: list[NotFound] = field(default_factory=list)
    doubled: list[Conflict] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    new: dict[str, Message] = field(default_factory=dict)
    ways: dict[str, tuple[frozenset[str], str]] = field(default_factory=dict)
    """For each new message: the tools used from it upwards among the new, and the id of what lies above those."""

    stored: dict[str, bool] = field(default_factory=dict)

    def fault(self, index: int, part: str, description: str) -> None:
        self.faults.append(Violation(f"messages[{index}].{part}", description, Reason.INVALID_MESSAGE))

    def add(self, index: int, message: Message, before: str) -> str:
        """Note what one message adds, or what is wrong with it; its id."""
        stored = self.tree.find(message.id) if message.id else None
        if stored is not None:
            if not _is_repeat(message, stored, message.parent_id or before):
                text = f"message `{message.id}` exists already, with other content or another parent"
                self.doubled.append(Conflict(Reason.MESSAGE_ID_EXISTS, text, subject=Subject("message", message.id)))
            self.ids.append(message.id)
            return message.id
        parent_id = message.parent_id or before or self.tree.head_id
        if not parent_id and (self.tree.message_count or self.new):
            self.fault(index, "parent_id", "is needed: the conversation has a first message already, and no head")
        if parent_id and parent_id not in self.new and not self._is_stored(parent_id):
            self.missing.append(message_not_found(parent_id))
        elif (result := message.tool_result) and not (self.allow_orphan or self._is_used(result.tool_id, parent_id)):
            text = f"`{result.tool_id[:64]}` was never used on the way to this message; `allow_orphan` accepts that"
            self.fault(index, "tool_result.tool_id", text)
        made = replace(
            message,
            id=message.id or str(uuid.uuid4()),
            parent_id=parent_id,
            create_time_ns=message.create_time_ns or self.now_ns,
            update_time_ns=self.now_ns,
        )
        self.new[made.id] = made
        used, above = self.ways.get(parent_id, (frozenset(), parent_id))
        self.ways[made.id] = (used | {made.tool_use.tool_id} if made.tool_use else used), above
        self.ids.append(made.id)
        return made.id

    def _is_used(self, tool_id: str, message_id: str) -> bool:
        used, above = self.ways.get(message_id, (frozenset(), message_id))
        if tool_id in used:
            return True
        # On a path that leads nowhere another fault has been noted, and this would be none if that were mended.
        return bool(above) and (not self._is_stored(above) or self.tree.has_tool_use(tool_id, above))

    def _is_stored(self, message_id: str) -> bool:
        if message_id not in self.stored:
            self.stored[message_id] = message_id == self.tree.head_id or self.tree.find(message_id) is not None
        return self.stored[message_id]


def message_not_found(message_id: str) -> NotFound:
    """The failure that every store raises for an unknown message."""
    text = f"there is no message `{message_id}` in this conversation"
    return NotFound(Reason.MESSAGE_NOT_FOUND, text, subject=Subject("message", message_id))


def _is_repeat(message: Message, stored: Message, parent_id: str) -> bool:
    """Whether both say the same in the same place: any place, where a first message names no parent."""
    return parent_id in {"", stored.parent_id} and _content(message) == _content(stored)


def _content(message: Message) -> tuple[object, ...]:
    use = message.tool_use and replace(message.tool_use, input={})
    # Compared as JSON, because `True == 1` in Python.
    use_input = message.tool_use and compact_json(message.tool_use.input)
    # What is known of a stored picture was filled in by the store.
    images = [(image.uri, image.blob_id, image.name, image.detail) for image in message.images]
    return message.role, message.text, message.reasoning, use, use_input, message.tool_result, images
