"""What a chat comes to: the events of a reply, and the whole of it, each with the wire's message as `proto`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from stepwire import _status
from stepwire.v1 import chat_pb2, message_pb2

__all__ = [
    "ChatEvent",
    "FinishReason",
    "Finished",
    "ReasoningDelta",
    "Reply",
    "Started",
    "TextDelta",
    "Usage",
]

FinishReason: TypeAlias = Literal["unknown", "stop", "length", "content_filter", "tool_use"]

_FINISH_REASONS: dict[int, FinishReason] = {
    chat_pb2.FINISH_REASON_STOP: "stop",
    chat_pb2.FINISH_REASON_LENGTH: "length",
    chat_pb2.FINISH_REASON_CONTENT_FILTER: "content_filter",
    chat_pb2.FINISH_REASON_TOOL_USE: "tool_use",
}


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one reply. None is unknown, which is not the same as 0."""

    input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    cached_input_tokens: int | None
    proto: message_pb2.Usage = field(repr=False, compare=False)

    @classmethod
    def of(cls, proto: message_pb2.Usage) -> Usage:
        """Read the wire's counts."""

        def count(name: str) -> int | None:
            return getattr(proto, name) if proto.HasField(name) else None

        return cls(
            count("input_token_count"),
            count("output_token_count"),
            count("reasoning_token_count"),
            count("cached_input_token_count"),
            proto,
        )


@dataclass(frozen=True, slots=True)
class Started:
    """The model has begun to answer. First event of a reply."""

    model: str
    """The model that answers, as its provider names it: it may differ from the name that was asked for."""

    provider: str
    """The endpoint it is asked through."""

    proto: chat_pb2.StreamChatResponse = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """Always empty: the texts of all events, joined, are the reply."""
        return ""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the reply."""

    text: str
    delta_count: int
    """How many of the provider's own pieces are joined here."""

    proto: chat_pb2.StreamChatResponse = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More of what the model thinks; no part of the reply."""

    reasoning: str
    proto: chat_pb2.StreamChatResponse = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """Always empty: the texts of all events, joined, are the reply."""
        return ""


@dataclass(frozen=True, slots=True)
class Finished:
    """The reply is whole. Last event."""

    reason: FinishReason
    model: str
    """The model that answered, as its provider names it."""

    provider: str
    usage: Usage
    messages: list[message_pb2.Message]
    """The reply, ready to be sent back as `messages` of a further request."""

    branched: bool | None
    """With a conversation: whether its head had moved meanwhile, so that the reply lies on a branch of its own."""

    first_event_latency_s: float | None
    """From the request's arrival at the server to the first piece of the reply."""

    proto: chat_pb2.ChatFinished = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """Always empty: the texts of all events, joined, are the reply."""
        return ""

    @classmethod
    def of(cls, proto: chat_pb2.ChatFinished) -> Finished:
        """Read the wire's last event."""
        latency = proto.first_event_latency if proto.HasField("first_event_latency") else None
        return cls(
            reason=_FINISH_REASONS.get(proto.reason, "unknown"),
            model=proto.model,
            provider=proto.provider,
            usage=Usage.of(proto.usage),
            messages=list(proto.messages),
            branched=proto.branched if proto.HasField("branched") else None,
            first_event_latency_s=None if latency is None else _status.seconds(latency),
            proto=proto,
        )


#: One event of a streamed reply. Each has `text`; joined, they are the reply.
ChatEvent: TypeAlias = Started | TextDelta | ReasoningDelta | Finished


def chat_event(proto: chat_pb2.StreamChatResponse) -> ChatEvent | None:
    """Read one event; None for a kind that this version does not know."""
    match proto.WhichOneof("event"):
        case "text_delta":
            return TextDelta(proto.text_delta.text, proto.text_delta.delta_count, proto)
        case "reasoning_delta":
            return ReasoningDelta(proto.reasoning_delta.text, proto)
        case "started":
            return Started(proto.started.model, proto.started.provider, proto)
        case "finished":
            return Finished.of(proto.finished)
        case _:
            return None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply. `str()` of it is its text."""

    text: str
    finished: Finished
    """How it ended, what it cost, and the messages to send back."""

    proto: chat_pb2.ChatResponse = field(repr=False, compare=False)

    def __str__(self) -> str:
        return self.text
