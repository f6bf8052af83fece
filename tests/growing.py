"""A conversation's tree in a dict, and messages for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from stepwired import conversation
from stepwired.conversation import Growth
from stepwired.errors import Failure, Reason
from stepwired.events import Message, Role, ToolResult, ToolUse

NOW_NS = 1_700_000_000_000_000_000


@dataclass
class Forest:
    """A tree in a dict."""

    stored: dict[str, Message] = field(default_factory=dict)
    head_id: str = ""

    @property
    def message_count(self) -> int:
        return len(self.stored)

    def find(self, message_id: str) -> Message | None:
        return self.stored.get(message_id)

    def has_tool_use(self, tool_id: str, message_id: str) -> bool:
        while message_id:
            message = self.stored[message_id]
            if message.tool_use and message.tool_use.tool_id == tool_id:
                return True
            message_id = message.parent_id
        return False

    def grow(
        self,
        *messages: Message,
        limit: int = 100,
        parent_id: str = "",
        keep_head: bool = False,
        allow_orphan: bool = False,
    ) -> Growth:
        growth = conversation.grow(
            self,
            messages,
            now_ns=NOW_NS,
            message_limit=limit,
            parent_id=parent_id,
            keep_head=keep_head,
            allow_orphan=allow_orphan,
        )
        self.stored |= {message.id: message for message in growth.new}
        self.head_id = growth.head_id
        return growth


def text(message_id: str, words: str = "hi", parent_id: str = "", role: Role = Role.USER) -> Message:
    return Message(role=role, text=words, id=message_id, parent_id=parent_id)


def use(message_id: str, tool_id: str, parent_id: str = "") -> Message:
    return Message(role=Role.ASSISTANT, tool_use=ToolUse(tool_id, "find", {}), id=message_id, parent_id=parent_id)


def result(message_id: str, tool_id: str, parent_id: str = "") -> Message:
    return Message(role=Role.TOOL, tool_result=ToolResult(tool_id, "42"), id=message_id, parent_id=parent_id)


def fields(failure: Failure) -> Sequence[tuple[str, Reason]]:
    return [(violation.field, violation.reason) for violation in failure.violations]
