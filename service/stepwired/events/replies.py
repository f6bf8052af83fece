"""The events of a chat model's reply."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import msgspec

from stepwired.events.messages import Json, Message, ToolResult, ToolUse
from stepwired.events.requests import ChatRequest
from stepwired.events.usage import Attempt, Usage, UsageSource


class FinishReason(Enum):
    """Why a model stopped."""

    UNKNOWN = "unknown"
    STOP = "stop"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"
    TOOL_USE = "tool_use"


# The events are msgspec Structs and not dataclasses: one is made for each token, at a fifth of the cost.


class Started(msgspec.Struct, frozen=True, gc=False):
    """The provider has begun to answer. First event of every reply."""

    model: str
    """The model that answers, as its provider names it."""

    provider: str
    """The endpoint of the configuration that it was asked through."""

    is_replayed: bool = False
    """Whether it is the kept reply to an earlier call with the same `request_id`."""

    is_cached: bool = False
    """Whether it comes from the cache of whole replies."""


class TokenLogprob(msgspec.Struct, frozen=True):
    """A token, with the natural logarithm of its probability, and the likeliest tokens in its place."""

    token: str
    logprob: float
    top: tuple[TokenLogprob, ...] = ()


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """The next piece of the reply's text, as the provider sent it; never empty."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False):
    """The next piece of what the model thinks; never empty."""

    text: str


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False):
    """The next piece of a tool call. Never to be acted upon: half a call is none."""

    index: int
    """Which of the turn's tool calls, from 0."""

    tool_id: str = ""
    name: str = ""
    arguments: str = ""
    """More of the arguments' JSON text."""


class ToolCalled(msgspec.Struct, frozen=True):
    """A whole tool call, its arguments checked. After all pieces of the turn, before `Finished`."""

    index: int
    tool_use: ToolUse


class ToolAnswered(msgspec.Struct, frozen=True):
    """What a tool that ran on this server answered."""

    tool_result: ToolResult


class Restarted(msgspec.Struct, frozen=True):
    """The reply begins again: everything after `Started` no longer holds."""

    attempt: int
    """From 2."""

    reason: str
    """Why the one before failed, a name of `Reason`."""

    model: str
    provider: str


class Finished(msgspec.Struct, frozen=True):
    """The reply is whole. Last event of every reply that did not fail."""

    reason: FinishReason
    model: str
    provider: str
    usage: Usage
    messages: tuple[Message, ...]
    """The reply, ready to be sent back in a further request."""

    branched: bool | None = None
    """With a conversation: whether its head had moved meanwhile, so that the reply lies on a branch of its own."""

    attempts: tuple[Attempt, ...] = ()
    """What was tried, in order; the last one answered."""

    turns: int = 1
    """How often the model was asked: once more for each time that tools of this server had answered."""

    structured: Json = None
    """With a `response_format`: the reply, as JSON."""

    provider_reason: str = ""
    """Why the model stopped, in the provider's own word."""

    parent_id: str = ""
    """With a conversation: the last of the stored messages that the model was sent. Not kept for repeats."""


Event = Started | TextDelta | ReasoningDelta | ToolCallDelta | ToolCalled | ToolAnswered | Restarted | Finished

#: All events that one read from the provider completed, in order. Never empty.
Batch = Sequence[Event]

#: Makes one reply: `Started` first, `Finished` last. Closing the stream stops the model.
Chat = Callable[[ChatRequest], AsyncGenerator[Batch, None]]


@dataclass(frozen=True, slots=True)
class TokenCount:
    """How many tokens a model would read."""

    input_tokens: int
    source: UsageSource
    model: str
    context_length: int | None = None


#: Counts what a model would read, without asking it for a reply.
CountTokens = Callable[[ChatRequest], Awaitable[TokenCount]]
