"""What is read of the JSON that the OpenAI wire answers with. Names and ids, which each chunk repeats, are skipped."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from stepwired import jsonvalue
from stepwired.events import Json, ToolUse, Usage, UsageSource

_INT32_MAX = 2**31 - 1
_INPUT_DEPTH = 32  # what callers may nest, too: protobuf refuses to read a Struct somewhat deeper
_USAGE_BYTES = 4096

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
    """The answer to a request for vectors, whose parts are read one by one: together they may be large."""

    data: list[msgspec.Raw] = []
    model: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class Pieces(list[str]):
    """The pieces of a text, and their size."""

    __slots__ = ("_counted", "size_bytes")

    def __init__(self) -> None:
        self._counted = 0
        self.size_bytes = 0
        """As UTF-8, of what `measure` has seen."""

    def measure(self) -> int:
        """Return the size with what came since the last call. Cheaper than a sum with each piece."""
        new = self[self._counted :]
        self._counted += len(new)
        self.size_bytes += len("".join(new).encode())
        return self.size_bytes


class ToolParts:
    """A tool call while its pieces come."""

    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []

    def add(self, call: ToolCall) -> int:
        """Add a piece; how many bytes it brought."""
        given = call.function or _NO_FUNCTION
        new_id = "" if self.id else whole(call.id or "")
        new_name = "" if self.name else whole(given.name or "")
        self.id += new_id
        self.name += new_name
        if not given.arguments:
            return len((new_id + new_name).encode())
        self.arguments.append(given.arguments)
        return len((new_id + new_name + given.arguments).encode("utf-8", "surrogatepass"))

    def use(self) -> ToolUse | None:
        """The whole of it; None if it has no name, or its input is no JSON object that could be sent and stored.

        Cost: 0.2 s for a MiB of small values, so not on the loop if it is large.
        """
        written = whole("".join(self.arguments))
        try:
            given = json.loads(written or "{}")
            if "\\u" in written:
                given = _mended(given)
        except (ValueError, RecursionError):
            return None
        if not isinstance(given, dict) or not self.name or jsonvalue.fault(given, max_depth=_INPUT_DEPTH):
            return None
        return None if jsonvalue.text_fault(self.id + self.name) else ToolUse(self.id, self.name, given)


_NO_FUNCTION = Function()


def _mended(value: Json) -> Json:
    """JSON whose escapes may have named lone surrogates, without them."""
    match value:
        case str():
            return whole(value)
        case list():
            return [_mended(item) for item in value]
        case dict():
            return {whole(name): _mended(item) for name, item in value.items()}
        case _:
            return value


def read_raw_usage(usage: msgspec.Raw) -> Usage:
    """As `read_usage`, from its JSON. What is larger than counts are is not read."""
    data = bytes(usage)
    return read_usage(msgspec.json.decode(data) if 0 < len(data) <= _USAGE_BYTES else None)


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
