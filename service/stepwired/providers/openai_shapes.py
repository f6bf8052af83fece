"""What is read of the JSON that the OpenAI wire answers with. Names and ids, which each chunk repeats, are skipped."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from stepwired.events import ToolUse, Usage, UsageSource

_INT32_MAX = 2**31 - 1

#: What msgspec raises for bytes that are no JSON, no UTF-8, nested too deep, or of another shape.
MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Function(msgspec.Struct, gc=False):
    """A piece of a tool's name or input."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct, gc=False):
    """A piece of a tool call."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct, gc=False):
    """What a chunk adds."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(msgspec.Struct, gc=False):
    """One reply of the several that could be asked for."""

    delta: Delta | None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct, gc=False):
    """One event of a chat completion."""

    choices: list[Choice] | None = None
    usage: Any = None  # read once, at the end, and with care
    error: Any = None


class FirstChunk(Chunk, gc=False):
    """The first event, of which the model is read too."""

    model: str | None = None


class Item(msgspec.Struct):
    """One vector."""

    embedding: bytes | list[float]  # base64 becomes bytes while it is read
    index: int | None = None


class Embedded(msgspec.Struct):
    """The answer to a request for vectors."""

    data: tuple[Item, ...] = ()
    model: str | None = None
    usage: Any = None
    error: Any = None


class ToolParts:
    """A tool call while its pieces come."""

    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []

    def add(self, call: ToolCall) -> None:
        self.id = self.id or whole(call.id or "")
        if call.function is not None:
            self.name = self.name or whole(call.function.name or "")
            self.arguments.append(call.function.arguments or "")

    def use(self) -> ToolUse | None:
        """The whole of it; None if it has no name, or its input is no JSON object."""
        try:
            given = json.loads(whole("".join(self.arguments)) or "{}")
        except (ValueError, RecursionError):
            return None
        return ToolUse(self.id, self.name, given) if isinstance(given, dict) and self.name else None


def read_usage(usage: Any) -> Usage:
    """Token counts of a usage object, each between 0 and 2^31-1; None where it has no number."""
    if not isinstance(usage, dict):
        return Usage()
    read = usage.get("prompt_tokens_details")
    written = usage.get("completion_tokens_details")
    return Usage(
        source=UsageSource.PROVIDER,
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        reasoning_tokens=_count(written.get("reasoning_tokens")) if isinstance(written, dict) else None,
        cached_input_tokens=_count(read.get("cached_tokens")) if isinstance(read, dict) else None,
    )


def _count(value: Any) -> int | None:
    return int(max(0, min(value, _INT32_MAX))) if type(value) in (int, float) and value == value else None


def joined(text: str) -> tuple[str, str]:
    """Join surrogate halves to characters, put U+FFFD for lone ones, and keep back a half that may be continued."""
    half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
    return whole(text[:-1] if half else text), half


def whole(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which no UTF-8 can carry."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
