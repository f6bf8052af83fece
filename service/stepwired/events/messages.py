"""Messages of a conversation, and the JSON they carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum

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
