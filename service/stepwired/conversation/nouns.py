"""What a conversation is, and which of its messages can be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from stepwired.events import Json


@dataclass(frozen=True, slots=True)
class Conversation:
    """A tree of messages, without the messages. Times are nanoseconds since 1970, UTC."""

    id: str
    title: str = ""
    head_id: str = ""
    """The message that the next one follows; empty as long as there is none."""

    revision: int = 1
    """Counts the changes from 1, the creation: each message appended takes one."""

    metadata: Mapping[str, Json] = field(default_factory=dict)
    create_time_ns: int = 0
    update_time_ns: int = 0
    message_count: int = 0


class MessageView(Enum):
    """A choice among the messages of a conversation."""

    HEAD_PATH = "head_path"
    """From the first message to the head."""

    PATH_TO = "path_to"
    """From the first message to a given one."""

    LEFTMOST = "leftmost"
    """From the first message along each oldest child."""

    ALL = "all"
    """All messages, in the order they were appended, so that parents come before children."""
