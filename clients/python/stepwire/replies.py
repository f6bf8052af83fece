"""What a chat comes to: the events of a reply, and the whole of it, each with the wire's message as `proto`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from stepwire import _status, _values
from stepwire._events import EventProto, Restarted, ToolAnswered, ToolCallDelta, ToolCalled
from stepwire.v1 import chat_pb2, message_pb2

__all__ = [
    "ChatEvent",
    "FinishReason",
    "Finished",
    "ReasoningDelta",
    "Reply",
    "Restarted",
    "Started",
    "TextDelta",
    "TokenCount",
    "ToolAnswered",
    "ToolCallDelta",
    "ToolCalled",
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

    @property
    def cost_usd(self) -> float | None:
        """What they cost in US dollars, by the server's price table; None if it has no price."""
        return self.proto.cost_usd if self.proto.HasField("cost_usd") else None

    @property
    def is_corrected(self) -> bool:
        """Whether the provider gave an impossible count, which was cut to what is possible."""
        return self.proto.corrected

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

    proto: EventProto = field(repr=False, compare=False)

    @property
    def is_replayed(self) -> bool:
        """Whether this is the kept reply to an earlier call with the same `request_id`."""
        return self.proto.started.replayed

    @property
    def is_cached(self) -> bool:
        """Whether the reply comes from the server's cache."""
        return self.proto.started.cached

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

    proto: EventProto = field(repr=False, compare=False)

    @property
    def logprobs(self) -> list[chat_pb2.TokenLogprob]:
        """The tokens of this piece; only with the option `top_logprobs`."""
        return list(self.proto.text_delta.logprobs)


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More of what the model thinks; no part of the reply."""

    reasoning: str
    proto: EventProto = field(repr=False, compare=False)

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
    def attempts(self) -> list[chat_pb2.ChatAttempt]:
        """What was tried, in order; the last one answered."""
        return list(self.proto.attempts)

    @property
    def turns(self) -> int:
        """How often the model was asked: once more for each time that tools of the server had answered."""
        return self.proto.turns

    @property
    def structured(self) -> Any:
        """With a `response_format`: the reply, as JSON."""
        return _values.from_value(self.proto.structured) if self.proto.HasField("structured") else None

    @property
    def provider_reason(self) -> str:
        """Why the model stopped, in the provider's own word."""
        return self.proto.provider_reason

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


#: One event of a streamed reply. Each has `text`; joined, they are the reply, from the last `Restarted` on.
ChatEvent: TypeAlias = (
    Started | TextDelta | ReasoningDelta | ToolCallDelta | ToolCalled | ToolAnswered | Restarted | Finished
)


def chat_event(proto: EventProto) -> ChatEvent | None:
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
        case "tool_call" if proto.tool_call.HasField("tool_use"):
            use = proto.tool_call.tool_use
            return ToolCalled(proto.tool_call.index, use.tool_id, use.name, _values.from_struct(use.input), proto)
        case "tool_call":
            call = proto.tool_call
            return ToolCallDelta(call.index, call.tool_id, call.name, call.arguments_delta, proto)
        case "tool_result":
            result = proto.tool_result
            return ToolAnswered(result.tool_id, result.result, result.is_error)
        case "restarted":
            again = proto.restarted
            return Restarted(again.attempt, again.reason, again.model, again.provider, proto)
        case _:
            return None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply. `str()` of it is its text."""

    text: str
    finished: Finished
    """How it ended, what it cost, and the messages to send back."""

    proto: chat_pb2.ChatResponse = field(repr=False, compare=False)

    @property
    def structured(self) -> Any:
        """With a `response_format`: the reply, as JSON."""
        return self.finished.structured

    @property
    def logprobs(self) -> list[chat_pb2.TokenLogprob]:
        """The tokens of the text; only with the option `top_logprobs`."""
        return list(self.proto.logprobs)

    @property
    def is_replayed(self) -> bool:
        """Whether this is the kept reply to an earlier call with the same `request_id`."""
        return self.proto.replayed

    @property
    def is_cached(self) -> bool:
        """Whether the reply comes from the server's cache."""
        return self.proto.cached

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class TokenCount:
    """How many tokens a model would read. `int()` of it is the count."""

    input_tokens: int
    is_estimated: bool
    """Whether the server counted by itself, which may differ from the provider's count by some percent."""

    model: str
    """The model that would read them, as its provider names it."""

    context_length: int | None
    """The most tokens that it can read and write together; None if unknown."""

    proto: chat_pb2.CountTokensResponse = field(repr=False, compare=False)

    def __int__(self) -> int:
        return self.input_tokens

    @classmethod
    def of(cls, proto: chat_pb2.CountTokensResponse) -> TokenCount:
        """Read the wire's answer."""
        return cls(
            input_tokens=proto.input_token_count,
            is_estimated=proto.source == message_pb2.USAGE_SOURCE_ESTIMATED,
            model=proto.model,
            context_length=proto.context_length if proto.HasField("context_length") else None,
            proto=proto,
        )
