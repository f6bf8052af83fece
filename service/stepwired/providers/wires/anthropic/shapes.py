"""What is read of the JSON that the Anthropic wire answers with; what is not named here is skipped."""

from __future__ import annotations

from typing import Any

import msgspec

from stepwired.events import Usage
from stepwired.providers.reading.pieces import usage_of


class Delta(msgspec.Struct, gc=False):
    """What an event adds to a block, or to the message."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class Block(msgspec.Struct, gc=False):
    """A block of content, at its start as a rule empty."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""
    id: str = ""
    name: str = ""
    input: dict[str, Any] | None = None


class Head(msgspec.Struct, gc=False):
    """The message, whole if it was not streamed."""

    model: str = ""
    usage: Any = None
    content: list[Block] = []
    stop_reason: str | None = None
    type: str = ""
    error: Any = None


class Event(msgspec.Struct, gc=False):
    """One event, of whatever type."""

    type: str = ""
    index: int = 0
    delta: Delta | None = None
    content_block: Block | None = None
    message: Head | None = None
    usage: Any = None
    error: Any = None


class Counts:
    """Token counts, which come in several events; each count that is given replaces the one before."""

    def __init__(self) -> None:
        self._said: dict[str, Any] = {}

    def add(self, usage: Any) -> None:
        """Note what an event says."""
        if isinstance(usage, dict):
            self._said.update((name, value) for name, value in usage.items() if value is not None)

    def usage(self) -> Usage:
        """All of it. Tokens that were read from or written to the cache count as read, as they do elsewhere."""
        said = self._said
        if not said:
            return Usage()
        cached = said.get("cache_read_input_tokens")
        parts = (said.get("input_tokens"), cached, said.get("cache_creation_input_tokens"))
        counts = [part for part in parts if type(part) in (int, float)]
        details = said.get("output_tokens_details")
        return usage_of(
            sum(counts) if counts else None,
            said.get("output_tokens"),
            details.get("thinking_tokens") if isinstance(details, dict) else None,
            cached,
        )
