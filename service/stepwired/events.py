"""The nouns that every part of the service shares: messages, chat events, embeddings. They know no transport."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Protocol

import msgspec

#: What JSON can say. Numbers are IEEE doubles on the wire; integral ones up to 2^53-1 are `int` here.
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that a JSON number carries without loss (IEEE 754 double)."""


class Role(StrEnum):
    """Who speaks in a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class MessageStatus(Enum):
    """Whether a message is whole."""

    COMPLETE = "complete"
    INTERRUPTED = "interrupted"


class FinishReason(Enum):
    """Why a model stopped."""

    UNKNOWN = "unknown"
    STOP = "stop"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"
    TOOL_USE = "tool_use"


class UsageSource(Enum):
    """Where token counts come from."""

    ABSENT = "absent"
    PROVIDER = "provider"


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What a model thought before it answered. Goes back to the provider that made it, and to no other."""

    text: str = ""
    signature: bytes = b""
    provider: str = ""


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A model's wish to have a tool called."""

    tool_id: str
    name: str
    input: Mapping[str, Json]
    tool_type: str = "function"


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the tool answered to the use with the same `tool_id`."""

    tool_id: str
    result: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """One image of a message. Exactly one of `data`, `uri`, `blob_id` and `server_path` says where its bytes are.

    What is known of the picture itself (`media_type`, size) is empty (0) for an address that was never fetched.
    """

    data: bytes = b""
    """The file itself, as it was sent; a store replaces it by `blob_id`."""

    uri: str = ""
    """An address that the model's provider may fetch, or this server where `fetch` is set."""

    blob_id: str = ""
    """`sha256:` and 64 hexadecimal digits."""

    server_path: str = ""
    """A file of the server's machine, below a configured root."""

    fetch: bool = False
    """With `uri`: whether this server is to fetch the bytes and keep them."""

    name: str = ""
    media_type: str = ""
    detail: str = "auto"
    """How closely a model is to look: `auto`, `low` or `high`."""

    width: int = 0
    """In pixels."""

    height: int = 0
    """In pixels."""

    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation. At most one of text, `tool_use` and `tool_result` is set.

    Ids, parent and times are empty (0) until a store gives them. Times are nanoseconds since 1970, UTC.
    """

    role: Role = Role.USER
    text: str = ""
    reasoning: Reasoning | None = None
    tool_use: ToolUse | None = None
    tool_result: ToolResult | None = None
    images: tuple[Image, ...] = ()
    metadata: Mapping[str, Json] = field(default_factory=dict)
    status: MessageStatus = MessageStatus.COMPLETE
    id: str = ""
    parent_id: str = ""
    create_time_ns: int = 0
    update_time_ns: int = 0


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """How to answer. What is None is not sent, so that the provider's own default holds."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One reply to be made.

    With a `conversation_id`, `messages` are appended to that conversation first and the model is sent the path
    to the last of them; `parent_id` continues from that message instead of the head, and `if_revision` refuses a
    conversation that has changed since. `system` is sent before everything else and never stored.
    """

    model: str = ""
    system: str = ""
    messages: tuple[Message, ...] = ()
    conversation_id: str = ""
    parent_id: str = ""
    if_revision: int | None = None
    options: ChatOptions = ChatOptions()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. None where the provider did not say, which is not the same as 0."""

    source: UsageSource = UsageSource.ABSENT
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_input_tokens: int | None = None


# The events are msgspec Structs and not dataclasses: one is made for each token, at a fifth of the cost.


class Started(msgspec.Struct, frozen=True, gc=False):
    """The provider has begun to answer. First event of every reply."""

    model: str
    """The model that answers, as its provider names it."""

    provider: str
    """The endpoint of the configuration that it was asked through."""


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """The next piece of the reply's text, as the provider sent it; never empty."""

    text: str


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False):
    """The next piece of what the model thinks; never empty."""

    text: str


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


Event = Started | TextDelta | ReasoningDelta | Finished

#: All events that one read from the provider completed, in order. Never empty.
Batch = Sequence[Event]

#: Makes one reply: `Started` first, `Finished` last. Closing the stream stops the model.
Chat = Callable[[ChatRequest], AsyncGenerator[Batch, None]]


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Texts to be turned into vectors, none of them empty."""

    texts: tuple[str, ...]
    model: str = ""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector for each text of the request, in its order."""

    model: str
    dimensions: int
    rows: tuple[bytes, ...]
    """Each `4 * dimensions` bytes: little-endian IEEE 754 floats, all finite. They go to the wire as they are."""

    usage: Usage = Usage()


#: All texts or none: raises the `Failure` of the first that cannot be done.
Embed = Callable[[EmbedRequest], Awaitable[Embeddings]]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model that callers can name."""

    name: str
    aliases: tuple[str, ...]
    endpoint: str
    """Name of the endpoint it is asked through."""

    provider_model: str
    """What the provider calls it."""

    is_default: bool
    dimensions: int | None = None
    """Length of its vectors; None for a chat model."""


class Metrics(Protocol):
    """Where the service counts what it does. Called once a call, never once a token."""

    def call_ended(self, method: str, code: str, reason: str, duration_s: float) -> None:
        """One call is over: its full method name, the status code's name, the failure's reason or ''."""
