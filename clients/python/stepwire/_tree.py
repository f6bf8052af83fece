"""A conversation in memory: the server's rules of the tree, kept here."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from stepwire import _requests, _rules, _values, errors
from stepwire._requests import View
from stepwire.v1 import message_pb2

#: What a message is, besides what may change and what the tree gives it.
_CONTENT = ("role", "text", "images", "reasoning", "tool_use", "tool_result")


class Tree:
    """Messages with a head, which the next one follows. What goes in and comes out are copies."""

    def __init__(self) -> None:
        self.head_id = ""
        self._messages: dict[str, message_pb2.Message] = {}

    def add(self, message: message_pb2.Message, *, keep_head: bool = False, allow_orphan: bool = False) -> str:
        """Append one message after its parent, or else the head, which moves to it; its id.

        A message whose id is there already with the same content and parent stays as it is.

        Raises:
            errors.InvalidRequest: INVALID_MESSAGE and others: `violations` says where.
            errors.NotFound: MESSAGE_NOT_FOUND, the parent.
            errors.Conflict: MESSAGE_ID_EXISTS.
        """
        made = _copy(message)
        made.role = made.role or ("tool" if made.HasField("tool_result") else _asker(made))
        _rules.check(made)
        if made.id in self._messages:
            if not _is_repeat(made, self._messages[made.id]):
                why = f"message `{made.id}` exists already, with other content or another parent"
                raise errors.Conflict(why, code="ALREADY_EXISTS", reason="MESSAGE_ID_EXISTS")
            return made.id
        made.parent_id = made.parent_id or self.head_id
        if made.parent_id:
            self._find(made.parent_id)
        if made.HasField("tool_result") and not (
            allow_orphan or self._is_used(made.tool_result.tool_id, made.parent_id)
        ):
            why = f"`{made.tool_result.tool_id}` was never used on the way to this message; `allow_orphan` accepts that"
            _rules.refuse("messages[0].tool_result.tool_id", why)
        if made.HasField("tool_use"):
            made.tool_use.tool_type = made.tool_use.tool_type or "function"
        made.id = made.id or str(uuid.uuid4())
        made.update_time.GetCurrentTime()
        if not made.HasField("create_time"):
            made.create_time.CopyFrom(made.update_time)
        _drop_empty_metadata(made)
        made.status = made.status or message_pb2.MESSAGE_STATUS_COMPLETE
        self._messages[made.id] = made
        if not keep_head:
            self.head_id = made.id
        return made.id

    def take_back(self, message_id: str, head_id: str) -> None:
        """Remove a message that nothing follows, and let the head be where it was before it."""
        if any(message.parent_id == message_id for message in self._messages.values()):
            return
        del self._messages[message_id]
        if self.head_id == message_id:
            self.head_id = head_id

    def get(self, message_id: str) -> message_pb2.Message:
        """One message.

        Raises:
            errors.InvalidRequest: This is no id.
            errors.NotFound: MESSAGE_NOT_FOUND.
        """
        _rules.check_id("message_id", message_id, is_needed=True)
        return _copy(self._find(message_id))

    def path(self, message_id: str) -> list[message_pb2.Message]:
        """The messages from the first to this one; none if it is empty."""
        return [_copy(message) for message in self._up_from(message_id)][::-1]

    def view(self, view: View, message_id: str) -> list[message_pb2.Message]:
        """A choice among the messages, parents before children."""
        _requests.choice("view", view, _requests.VIEWS)
        _rules.check_id("message_id", message_id)
        if view == "path_to" and not message_id:
            _rules.refuse("message_id", "is needed to know where the path ends", "FIELD_REQUIRED")
        if view != "path_to" and message_id:
            _rules.refuse("message_id", f"has no meaning in the view {view}", "FIELD_INVALID")
        match view:
            case "path_to":
                return self.path(message_id)
            case "leftmost":
                return self._leftmost()
            case "all":
                return [_copy(message) for message in self._messages.values()]
            case _:
                return self.path(self.head_id)

    def update_metadata(self, message_id: str, metadata: dict[str, Any], *, merge: bool) -> None:
        """Replace a message's metadata, or set some keys of it and remove those whose value is None.

        Raises:
            errors.NotFound: MESSAGE_NOT_FOUND.
        """
        _rules.check_id("message_id", message_id, is_needed=True)
        _rules.check_metadata("metadata", metadata)
        message = self._find(message_id)
        if merge:
            metadata = _merged(_values.from_struct(message.metadata), _values.from_struct(_values.to_struct(metadata)))
        message.metadata.CopyFrom(_values.to_struct(metadata))
        _drop_empty_metadata(message)
        message.update_time.GetCurrentTime()

    def _up_from(self, message_id: str) -> Iterator[message_pb2.Message]:
        while message_id:
            message = self._find(message_id)
            yield message
            message_id = message.parent_id

    def _is_used(self, tool_id: str, message_id: str) -> bool:
        return any(
            message.HasField("tool_use") and message.tool_use.tool_id == tool_id
            for message in self._up_from(message_id)
        )

    def _leftmost(self) -> list[message_pb2.Message]:
        oldest: dict[str, str] = {}
        for message in self._messages.values():
            oldest.setdefault(message.parent_id, message.id)
        found = []
        message_id = ""
        while message_id in oldest:
            message_id = oldest[message_id]
            found.append(self.get(message_id))
        return found

    def _find(self, message_id: str) -> message_pb2.Message:
        if message_id not in self._messages:
            why = f"there is no message `{message_id}` in this conversation"
            raise errors.NotFound(why, code="NOT_FOUND", reason="MESSAGE_NOT_FOUND")
        return self._messages[message_id]


def for_model(messages: Iterable[message_pb2.Message]) -> list[message_pb2.Message]:
    """What a model is sent: content without ids and metadata, and without what is hidden."""
    return [
        _content(message)
        for message in messages
        if "hidden" not in message.metadata.fields or not message.metadata.fields["hidden"].bool_value
    ]


def _asker(message: message_pb2.Message) -> str:
    return "assistant" if message.HasField("tool_use") else "user"


def _drop_empty_metadata(message: message_pb2.Message) -> None:
    if not message.metadata.fields:
        message.ClearField("metadata")


def _is_repeat(message: message_pb2.Message, kept: message_pb2.Message) -> bool:
    return message.parent_id in {"", kept.parent_id} and _content(message) == _content(kept)


def _content(message: message_pb2.Message) -> message_pb2.Message:
    made = _copy(message)
    for field in message_pb2.Message.DESCRIPTOR.fields:
        if field.name not in _CONTENT:
            made.ClearField(field.name)
    return made


def _copy(message: message_pb2.Message) -> message_pb2.Message:
    made = message_pb2.Message()
    made.CopyFrom(message)
    return made


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """RFC 7396: objects are merged at every level."""
    made = dict(old)
    for key, value in new.items():
        if value is None:
            made.pop(key, None)
        elif isinstance(value, dict):
            before = made.get(key)
            made[key] = _merged(before if isinstance(before, dict) else {}, value)
        else:
            made[key] = value
    return made
