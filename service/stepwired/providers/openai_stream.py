"""Reads a streamed chat completion of the OpenAI wire: bytes in, events out, no I/O."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from stepwired.errors import Failure
from stepwired.events import (
    Event,
    Finished,
    FinishReason,
    Message,
    Reasoning,
    ReasoningDelta,
    Role,
    Started,
    TextDelta,
    ToolUse,
)
from stepwired.limits import KIB
from stepwired.providers import faults
from stepwired.providers.base import Budget
from stepwired.providers.openai_shapes import (
    MALFORMED,
    Chunk,
    Delta,
    FirstChunk,
    Pieces,
    ToolCall,
    ToolParts,
    joined,
    read_usage,
    whole,
)
from stepwired.providers.refusals import Asked, of_event
from stepwired.providers.sse import Named, Parser

_FINISH = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
    "tool_calls": FinishReason.TOOL_USE,
    "function_call": FinishReason.TOOL_USE,
}
_TOOL_CALLS = 128
_LIGHT_BYTES = 64 * KIB
_MODEL_CHARACTERS = 256

_decode_first = msgspec.json.Decoder(FirstChunk).decode
_decode_next = msgspec.json.Decoder(Chunk).decode


class Decoder:
    """Feed it what was read, in order, until `is_done` or the body's end; then call `end`.

    Cost: about 0.6 us per delta.

    Args:
        asked: Whom we asked for what, for events and failures.
        budget: Bytes of one event, and of a reply.
    """

    def __init__(self, asked: Asked, budget: Budget | None = None) -> None:
        self.is_done = False
        """Whether nothing more is to be read: the reply is whole, or has failed."""
        self.has_reason = False
        """Whether the model said why it stopped. No text comes after it, so a cut does no harm."""
        self.tool_bytes = 0
        """Size of the tool calls so far, which grow without an event."""
        self._asked = asked
        self._budget = budget or Budget()
        self._parser = Parser(self._budget.event_bytes, asked.provider)
        self._model = ""
        self._reason: str | None = None
        self._usage: Any = None
        self._texts = Pieces()
        self._reasonings = Pieces()
        self._tools: dict[int | str, ToolParts] = {}
        self._unchecked_bytes = 0
        self._room_bytes = 0
        self._is_finished = False
        self._failure: Failure | None = None
        self._has_surrogates = False  # once set, each text takes the long way
        self._half = ""
        self._reasoning_half = ""

    @property
    def is_light(self) -> bool:
        """Whether `end` costs next to nothing. If not, call it in a thread: it reads the input of large tool calls."""
        return self.tool_bytes <= _LIGHT_BYTES

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that `chunk` completes, in order; often one, possibly none.

        Raises:
            Failure: The stream is broken, says that the provider failed, or makes the reply too large. If `chunk` also
                completed pieces of the reply, they are returned and `end` raises; those that are too much are not.
        """
        events: list[Event] = []
        self._unchecked_bytes += len(chunk)
        try:
            for data in self._parser.feed(chunk):
                if not self._read(data, events):
                    self.is_done = True
                    break
            if self._unchecked_bytes > self._room_bytes:
                self._check_size(events)
            if self.is_done and self.is_light:
                self._finish(events)
        except Failure as failure:
            self.is_done = True
            self._failure = failure
            if not events or (len(events) == 1 and isinstance(events[0], Started)):
                raise
        return events

    def end(self) -> list[Event]:
        """Return the last events, if `feed` has not: where no `[DONE]` came, or large tool calls were to be read.

        Raises:
            Failure: The stream had failed, or ended in the middle, reason PROVIDER_STREAM_TRUNCATED.
        """
        if self._failure is not None:
            raise self._failure
        events: list[Event] = []
        if not self._is_finished:
            if not self.is_done and not self.has_reason:
                raise self._truncated()
            self._finish(events)
        return events

    def _read(self, data: bytes, events: list[Event]) -> bool:
        """Add the events of one chunk. False at `[DONE]`."""
        try:
            chunk = _decode_next(data) if self._model else _decode_first(data)
        except MALFORMED:
            if data.strip() == b"[DONE]":
                return False
            chunk = self._repaired(data)
        if chunk.choices is None or chunk.error is not None:
            self._check_odd(chunk, data)
        if not self._model:
            self._model = whole(getattr(chunk, "model", None) or "")[:_MODEL_CHARACTERS] or self._asked.model
            events.append(Started(self._model, self._asked.provider))
        if chunk.usage is not None:
            self._usage = chunk.usage
        if not chunk.choices:
            return True
        choice = chunk.choices[0]
        if (delta := choice.delta) is not None:
            if delta.reasoning_content or delta.reasoning or delta.tool_calls:
                self._read_rest(delta, events)
            text = delta.content or delta.refusal
            if text and (not self._has_surrogates or (text := self._joined(text))):
                self._texts.append(text)
                events.append(TextDelta(text))
        if choice.finish_reason is not None:
            self._reason = choice.finish_reason
            self.has_reason = True
        return True

    def _read_rest(self, delta: Delta, events: list[Event]) -> None:
        """Add what is seldom there."""
        if reasoning := delta.reasoning_content or delta.reasoning:
            if self._has_surrogates:
                reasoning, self._reasoning_half = joined(self._reasoning_half + reasoning)
            if reasoning:
                self._reasonings.append(reasoning)
                events.append(ReasoningDelta(reasoning))
        for call in delta.tool_calls or ():
            self._add_tool(call)

    def _joined(self, text: str) -> str:
        text, self._half = joined(self._half + text)
        return text

    def _add_tool(self, call: ToolCall) -> None:
        """Collect a piece of a tool call: the first has its id and name, all have its index, or its id."""
        key = call.index if call.index is not None else call.id or (next(reversed(self._tools)) if self._tools else 0)
        if key not in self._tools and len(self._tools) >= _TOOL_CALLS:
            raise self._malformed(f"more than {_TOOL_CALLS} tool calls")
        self.tool_bytes += self._tools.setdefault(key, ToolParts()).add(call)
        if self.tool_bytes > self._budget.tool_bytes:
            raise faults.too_large(self._asked.provider, "tool calls", self._budget.tool_bytes)

    def _check_size(self, events: list[Event]) -> None:
        """Refuse a reply that could not be sent, stored and read back. What goes beyond is not told.

        It is seldom measured: a byte that was fed makes three of text at most (U+FFFD), so what is left of the room
        says how much may be fed before the next look.
        """
        most_bytes = self._budget.text_bytes
        for what, pieces in (("text", self._texts), ("reasoning", self._reasonings)):
            if pieces.measure() > most_bytes:
                events.clear()
                raise faults.too_large(self._asked.provider, what, most_bytes)
        self._room_bytes = (most_bytes - max(self._texts.size_bytes, self._reasonings.size_bytes)) // 3
        self._unchecked_bytes = self._parser.pending_bytes

    def _repaired(self, data: bytes) -> Chunk:
        """Read what msgspec refuses and is common all the same: bytes that are no UTF-8, half a surrogate pair."""
        text = data.decode("utf-8", "replace")
        if "\ufffd" not in text and "\\ud" not in text.lower():
            raise self._malformed("what is no chunk")
        try:
            chunk = msgspec.convert(json.loads(text), Chunk if self._model else FirstChunk)
        except (ValueError, RecursionError):  # msgspec's refusal is a ValueError, too
            raise self._malformed("what is no chunk") from None
        self._has_surrogates = True
        return chunk

    def _check_odd(self, chunk: Chunk, data: bytes) -> None:
        """Find errors, also those without `error`: an event of that name, or an object that says it is one."""
        if chunk.error is not None:
            raise of_event(self._asked, chunk.error)
        if chunk.usage is not None:
            return
        try:
            odd = msgspec.json.decode(data)
        except MALFORMED:
            odd = None
        is_named = isinstance(data, Named) and data.name == "error"
        if is_named or (isinstance(odd, dict) and "error" in (odd.get("object"), odd.get("type"))):
            raise of_event(self._asked, odd)

    def _finish(self, events: list[Event]) -> None:
        if not self._model:
            raise self._truncated()
        self.is_done = self._is_finished = True
        if self._reasoning_half:  # halves whose other half never came
            self._reasonings.append("\ufffd")
            events.append(ReasoningDelta("\ufffd"))
        if self._half:
            self._texts.append("\ufffd")
            events.append(TextDelta("\ufffd"))
        reason = FinishReason.UNKNOWN if self._reason is None else _FINISH.get(self._reason, FinishReason.UNKNOWN)
        events.append(Finished(reason, self._model, self._asked.provider, read_usage(self._usage), self._messages()))

    def _messages(self) -> tuple[Message, ...]:
        text = "".join(self._texts)
        thought = "".join(self._reasonings)
        reasoning = Reasoning(thought, provider=self._asked.provider) if thought else None
        uses = [use for tool in self._tools.values() if (use := self._tool_use(tool)) is not None]
        messages: list[Message] = []
        if text or not uses:
            messages.append(Message(Role.ASSISTANT, text, reasoning))
        for use in uses:
            messages.append(Message(Role.ASSISTANT, reasoning=None if messages else reasoning, tool_use=use))
        return tuple(messages)

    def _tool_use(self, tool: ToolParts) -> ToolUse | None:
        use = tool.use()
        # What was cut off must not be executed; a model that stopped by itself has said all of it.
        if use is None and self._reason not in ("length", "content_filter"):
            raise self._malformed("a tool call without a name or with an input that is no JSON object")
        return use

    def _truncated(self) -> Failure:
        return faults.truncated(self._asked.provider)

    def _malformed(self, what: str) -> Failure:
        return faults.nonsense(self._asked.provider, f"sent {what}")
