"""Reads a message of the Anthropic wire, streamed or whole: bytes in, events out, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import msgspec

from stepwired.events import ChatOptions, Event, FinishReason, ReasoningDelta, TextDelta
from stepwired.providers import faults
from stepwired.providers.base import Budget
from stepwired.providers.reading.decoder import Decoder
from stepwired.providers.reading.layout import Layout, relay
from stepwired.providers.reading.mending import MALFORMED, read_mended, whole, written
from stepwired.providers.refusing.refusals import Asked, of_event
from stepwired.providers.wires.anthropic.shapes import Block, Counts, Delta, Head
from stepwired.providers.wires.anthropic.shapes import Event as Said
from stepwired.providers.wires.anthropic.thoughts import Thought, signature_of

T = TypeVar("T")

_FINISH = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_USE,
    "refusal": FinishReason.CONTENT_FILTER,
    "pause_turn": FinishReason.UNKNOWN,
}

_OPEN_BLOCKS = 256
_SEAL_BYTES = 16
"""What a signature takes beside its letters."""

_decode = msgspec.json.Decoder(Said).decode
_decode_whole = msgspec.json.Decoder(Head).decode


@dataclass(slots=True)
class _Open:
    """A block that has begun and not ended."""

    type: str
    is_reply: bool
    """Whether it is the tool whose arguments are the reply."""

    characters: int = 0
    """Of thought."""

    signature: str = ""


class AnthropicDecoder(Decoder):
    """See `Decoder`. Only `message_stop` ends a reply: what breaks off before it is not whole.

    Cost: about 1.3 us per delta.

    Args:
        asked: Whom we asked for what.
        budget: Bytes of one event, and of a reply.
        options: What was asked for.
        first_id: See `Assembly`.
        reply_tool: Name of the tool whose arguments are the reply's text; empty: none.
    """

    def __init__(
        self,
        asked: Asked,
        budget: Budget | None = None,
        options: ChatOptions | None = None,
        first_id: int = 0,
        reply_tool: str = "",
    ) -> None:
        super().__init__(asked, budget, options, first_id)
        self._reply_tool = reply_tool
        self._blocks: dict[int, _Open] = {}
        self._layout: Layout[Thought] = Layout()
        self._counts = Counts()
        self._stop_reason = ""
        self._is_replied = False  # by the tool for it
        self._signed_bytes = 0
        self._texts = self._reply.texts
        self._text_index: int | None = None  # of the block of text that is open and takes the short way
        self._unnoted = 0  # characters that the layout does not know of

    def _read(self, data: bytes, events: list[Event]) -> bool:
        """Add what one event says. False at `message_stop`."""
        try:
            said = _decode(data)
        except MALFORMED:
            said = self._mended(data, Said)
        # Most events are a piece of text and nothing else.
        if (delta := said.delta) is not None and said.index == self._text_index and delta.type == "text_delta":
            if delta.text:
                self._texts.append(delta.text)
                events.append(TextDelta(delta.text))
                self._unnoted += len(delta.text)
            return True
        match said.type:
            case "content_block_delta":
                self._add(said.index, delta or Delta(), events)
            case "content_block_start":
                self._begin(said.index, said.content_block or Block(), events)
            case "content_block_stop":
                self._end(said.index)
            case "message_start":
                self._start(said.message or Head(), events)
            case "message_delta":
                self._counts.add(said.usage)
                self._stop_reason = (delta or Delta()).stop_reason or self._stop_reason
            case "message_stop":
                self._stop()
                return False
            case "error":
                raise of_event(self._asked, {"type": "error", "error": said.error})
        return True  # a ping, or of a type that is newer than this

    def _read_whole(self, body: bytes, events: list[Event]) -> None:
        try:
            head = _decode_whole(body)
        except MALFORMED:
            head = self._mended(body, Head)
        if head.error is not None:
            raise of_event(self._asked, {"type": "error", "error": head.error})
        if head.type != "message":
            raise self._reply.malformed("what is no message")
        self._start(head, events)
        for index, block in enumerate(head.content):
            self._begin(index, block, events)
            self._end(index)
        self._stop_reason = head.stop_reason or ""
        self._stop()

    def _mended(self, data: bytes, kind: type[T]) -> T:
        try:
            said = read_mended(data, kind)
        except ValueError:  # msgspec's refusal is one, too
            raise self._reply.malformed("what is no event") from None
        self._leave_text()
        self._reply.has_surrogates = True
        return said

    def _leave_text(self) -> None:
        """Note what came the short way, and take the long one."""
        if self._unnoted:
            self._layout.text(self._unnoted)
        self._unnoted, self._text_index = 0, None

    def _start(self, head: Head, events: list[Event]) -> None:
        self._counts.add(head.usage)
        if not self._reply.model:
            self._reply.start(head.model, events)

    def _stop(self) -> None:
        if not self._reply.model:
            raise self._reply.malformed("the end of a message that has not begun")
        reason = _FINISH.get(self._stop_reason, FinishReason.UNKNOWN)
        if reason is FinishReason.TOOL_USE and self._is_replied:
            reason = FinishReason.STOP
        self._reply.stop(reason, self._stop_reason)

    def _begin(self, index: int, block: Block, events: list[Event]) -> None:
        if not self._reply.model or len(self._blocks) >= _OPEN_BLOCKS:
            raise self._reply.malformed("a block out of place")
        self._leave_text()
        is_reply = block.type == "tool_use" and block.name == self._reply_tool
        opened = self._blocks[index] = _Open(block.type, is_reply)
        if block.type == "tool_use":
            if is_reply:
                self._is_replied = True
            else:
                parts = self._reply.tool(index, events, tool_id=block.id, name=block.name)
                self._layout.tool(parts.index)
            if block.input:  # of a streamed message it is empty here
                self._add_json(index, opened, written(block.input), events)
        elif block.type == "text":
            self._add_text(block.text, events)
            self._text_index = index if not self._reply.has_surrogates else None
        elif block.type == "thinking":
            self._think(opened, block.thinking, events)
            self._sign(opened, block.signature)
        elif block.type == "redacted_thinking":
            self._sign(opened, block.data)

    def _add(self, index: int, delta: Delta, events: list[Event]) -> None:
        opened = self._blocks.get(index)
        if opened is None:
            raise self._reply.malformed("more of a block that has not begun")
        match delta.type:
            case "text_delta":
                self._add_text(delta.text, events)
            case "input_json_delta" if opened.type == "tool_use":
                self._add_json(index, opened, delta.partial_json, events)
            case "thinking_delta":
                self._think(opened, delta.thinking, events)
            case "signature_delta":
                self._sign(opened, delta.signature)

    def _end(self, index: int) -> None:
        if index == self._text_index:
            self._leave_text()
        opened = self._blocks.pop(index, None)
        if opened is not None and opened.type in ("thinking", "redacted_thinking"):
            is_redacted = opened.type == "redacted_thinking"
            self._layout.seal(Thought(opened.characters, opened.signature, is_redacted))

    def _add_text(self, text: str, events: list[Event]) -> None:
        told = len(events)
        self._reply.text(text, events)
        for event in events[told:]:
            if isinstance(event, TextDelta):
                self._layout.text(len(event.text))

    def _add_json(self, index: int, opened: _Open, text: str, events: list[Event]) -> None:
        if opened.is_reply:
            self._add_text(text, events)
        elif text:
            self._reply.tool(index, events, arguments=text)

    def _think(self, opened: _Open, text: str, events: list[Event]) -> None:
        told = len(events)
        self._reply.think(text, events)
        for event in events[told:]:
            if isinstance(event, ReasoningDelta):
                self._layout.think(len(event.text))
                opened.characters += len(event.text)

    def _sign(self, opened: _Open, signature: str) -> None:
        opened.signature += whole(signature)
        self._signed_bytes += len(signature) + _SEAL_BYTES
        if self._signed_bytes > self._budget.text_bytes:
            raise faults.too_large(self._asked.provider, "signatures", self._budget.text_bytes)

    def _finish(self, events: list[Event]) -> None:
        self._leave_text()
        self._reply.usage = self._counts.usage()
        super()._finish(events)
        relay(self._layout, events, signature_of)
