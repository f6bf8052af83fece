"""Events of a reply beside its text: what tools are asked and answer, and that it begins again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from stepwire.v1 import chat_pb2

#: A message that holds one event: of StreamChat, or of a turn of Converse.
EventProto: TypeAlias = chat_pb2.StreamChatResponse | chat_pb2.ConverseResponse


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """More of what the model wants from a tool. Never to be acted upon: half a call is none."""

    index: int
    """Which of the turn's tool calls, from 0."""

    tool_id: str
    """Empty until the provider told it."""

    name: str
    """Empty until the provider told it."""

    arguments: str
    """More of the arguments' JSON text."""

    proto: EventProto = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """Always empty: the texts of all events, joined, are the reply."""
        return ""


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """A whole tool call, its arguments checked."""

    index: int
    """Which of the turn's tool calls, from 0."""

    tool_id: str
    """Goes with the answer."""

    name: str
    input: dict[str, Any]
    """The arguments."""

    proto: EventProto = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """Always empty: the texts of all events, joined, are the reply."""
        return ""


@dataclass(frozen=True, slots=True)
class ToolAnswered:
    """What a tool answered, that ran on the server or as a function of this program."""

    tool_id: str
    result: str
    is_error: bool

    @property
    def text(self) -> str:
        """Always empty: the texts of all events, joined, are the reply."""
        return ""


@dataclass(frozen=True, slots=True)
class Restarted:
    """The reply begins again: forget the text, thoughts and tool calls so far."""

    attempt: int
    """Counts the attempts, from 2."""

    reason: str
    """Why the one before failed, such as `PROVIDER_STREAM_TRUNCATED`."""

    model: str
    provider: str
    proto: EventProto = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """Always empty."""
        return ""
