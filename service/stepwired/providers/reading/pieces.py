"""What replies are put together from: texts, tool calls and counts, with what no road of ours carries mended."""

from __future__ import annotations

from typing import Any

from stepwired import jsonvalue
from stepwired.events import TokenLogprob, ToolUse, Usage, UsageSource
from stepwired.providers.reading.mending import joined, whole, without_surrogates

DEPTH = 32
"""Nesting of JSON that models write; what callers may nest, too: protobuf refuses to read somewhat deeper."""

_INT32_MAX = 2**31 - 1

_LOGPROB_BYTES = 24
"""What a token and each of its alternatives take as JSON beside their letters, at the least."""


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
    """A tool call while its pieces come.

    Args:
        index: Which of the reply's calls.
    """

    __slots__ = ("_half", "arguments", "id", "index", "name")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self._half = ""

    def add(self, tool_id: str, name: str, arguments: str) -> int:
        """Add a piece; how many bytes it brought. Id and name are taken once, as servers repeat them."""
        new_id = "" if self.id else whole(tool_id)
        new_name = "" if self.name else whole(name)
        self.id += new_id
        self.name += new_name
        if arguments:
            self.arguments.append(arguments)
        return len((new_id + new_name + arguments).encode("utf-8", "surrogatepass"))

    def told(self, arguments: str) -> str:
        """A piece of the arguments, as far as it can be told now."""
        arguments, self._half = joined(self._half + arguments)
        return arguments

    @property
    def is_whole(self) -> bool:
        """Whether its input, so far, is a JSON object."""
        try:
            return isinstance(jsonvalue.parse("".join(self.arguments)), dict)
        except ValueError:
            return False

    @property
    def has_arguments(self) -> bool:
        """Whether any of its input has come. None is also how some models write that a tool needs none."""
        return any(piece and not piece.isspace() for piece in self.arguments)

    def use(self, made_up_id: str) -> ToolUse | None:
        """The whole of it; None if it has no name, or its input is no JSON object that could be sent and stored.

        Cost: 0.2 s for a MiB of small values, so not on the loop if it is large.
        """
        written = whole("".join(self.arguments))
        try:
            given = jsonvalue.parse(written if written.strip() else "{}")
            if "\\u" in written:
                given = without_surrogates(given)
        except (ValueError, RecursionError):
            return None
        if not isinstance(given, dict) or not self.name or jsonvalue.fault(given, max_depth=DEPTH):
            return None
        return None if jsonvalue.text_fault(self.id + self.name) else ToolUse(self.id or made_up_id, self.name, given)


def logprob_bytes(token: TokenLogprob) -> int:
    """Size of a token with its alternatives: no more than their JSON had."""
    return _LOGPROB_BYTES + len(token.token) + sum(_LOGPROB_BYTES + len(other.token) for other in token.top)


def usage_of(
    input_tokens: Any = None, output_tokens: Any = None, reasoning_tokens: Any = None, cached_input_tokens: Any = None
) -> Usage:
    """What a provider counted: each between 0 and 2^31-1, cut to it if need be; None where it gives no number."""
    given = (input_tokens, output_tokens, reasoning_tokens, cached_input_tokens)
    counts = [_count(value) for value in given]
    is_corrected = any(count is not None and count != value for count, value in zip(counts, given, strict=True))
    return Usage(UsageSource.PROVIDER, counts[0], counts[1], counts[2], counts[3], is_corrected=is_corrected)


def _count(value: Any) -> int | None:
    if type(value) not in (int, float) or value != value:
        return None
    return int(max(0, min(value, _INT32_MAX)))
