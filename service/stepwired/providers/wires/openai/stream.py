"""Reads a chat completion of the OpenAI wire, streamed or whole: bytes in, events out, no I/O."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import msgspec

from stepwired.events import ChatOptions, Event, FinishReason, TextDelta
from stepwired.providers.base import Budget
from stepwired.providers.reading.decoder import Decoder
from stepwired.providers.reading.mending import MALFORMED, lenient, without_surrogates
from stepwired.providers.reading.pieces import ToolParts
from stepwired.providers.reading.sse import Named
from stepwired.providers.refusing.refusals import Asked, of_event
from stepwired.providers.wires.openai.parts import Details, ThinkTags, parts_of
from stepwired.providers.wires.openai.shapes import (
    Chunk,
    Completion,
    Delta,
    FirstChunk,
    Function,
    ToolCall,
    read_logprobs,
    read_usage,
)
from stepwired.providers.wires.quirks import Quirks

_FINISH = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,  # Mistral's, of the context
    "content_filter": FinishReason.CONTENT_FILTER,
    "tool_calls": FinishReason.TOOL_USE,
    "function_call": FinishReason.TOOL_USE,
}

_decode_first = msgspec.json.Decoder(FirstChunk).decode
_decode_next = msgspec.json.Decoder(Chunk).decode
_decode_whole = msgspec.json.Decoder(Completion).decode


class OpenAIDecoder(Decoder):
    """See `Decoder`. Cost: about 0.6 us per delta."""

    def __init__(
        self,
        asked: Asked,
        budget: Budget | None = None,
        options: ChatOptions | None = None,
        first_id: int = 0,
        quirks: Quirks | None = None,
    ) -> None:
        super().__init__(asked, budget, options, first_id)
        self._is_begun = False
        self._usage: Any = None
        self._texts = self._reply.texts
        self._tags = ThinkTags() if quirks is not None and quirks.think_tags else None
        self._details = Details()
        self._call_keys: dict[int | str, Hashable] = {}
        self._call_ids: dict[str, Hashable] = {}
        self._has_logprobs = options is not None and options.top_logprobs is not None
        self._says_cost = quirks is not None and quirks.says_cost
        # Where set, each text takes the long way.
        self._stays_slow = self._has_logprobs or (quirks is not None and quirks.reasoning_back == "reasoning_details")
        self._is_slow = self._tags is not None or self._stays_slow

    def _read(self, data: bytes, events: list[Event]) -> bool:
        """Add the events of one chunk. False at `[DONE]`."""
        try:
            chunk = _decode_next(data) if self._is_begun else _decode_first(data)
        except MALFORMED:
            if data.strip() == b"[DONE]":
                return False
            chunk = self._repaired(data, Chunk if self._is_begun else FirstChunk)
        choices = chunk.choices
        if not choices or chunk.usage is not None or chunk.error is not None or not self._is_begun:
            self._read_frame(chunk, data, events)
            if not choices:
                return True
        choice = choices[0]
        if choice.index:  # of several replies, which were not asked for, the first is read
            return True
        if (delta := choice.delta) is not None:
            text = delta.content
            # Most have a text and nothing else. What never comes beside a text is not looked for.
            if not text or delta.reasoning_content or delta.reasoning or delta.tool_calls or self._is_slow:
                self._read_rest(delta, choice.logprobs, events)
            else:
                self._texts.append(text)
                events.append(TextDelta(text))
        if choice.finish_reason is not None:
            self._stop(choice.finish_reason)
        return True

    def _read_frame(self, chunk: Chunk, data: bytes, events: list[Event]) -> None:
        """Note what is around the reply, at its start and its end."""
        if chunk.choices is None or chunk.error is not None:
            self._check_odd(chunk, data)
        model = getattr(chunk, "model", None)
        # Azure first tells what its filter thinks of the prompt, and not yet which model answers.
        if not self._is_begun and (chunk.choices or model):
            self._reply.start(model, events)
            self._is_begun = True
        if chunk.usage is not None:
            self._usage = chunk.usage

    def _read_rest(self, delta: Delta, logprobs: Any, events: list[Event]) -> None:
        """Add all that a delta may have."""
        reply = self._reply
        if delta.reasoning_content or delta.reasoning or delta.reasoning_details:
            shown = self._details.add(delta.reasoning_details or ())
            self._check_details()
            reply.think(delta.reasoning_content or delta.reasoning or shown, events)
        tokens = read_logprobs(logprobs) if self._has_logprobs else ()
        if delta.parts:
            for is_thought, piece in parts_of(delta.parts):
                reply.think(piece, events) if is_thought else reply.text(piece, events)
        elif self._tags is not None:
            for is_thought, piece in self._tags.feed(delta.content or ""):
                reply.think(piece, events) if is_thought else reply.text(piece, events, tokens)
                tokens = () if not is_thought else tokens
            if self._tags.is_over:
                self._tags, self._is_slow = None, self._stays_slow
        elif delta.content or tokens:
            reply.text(delta.content or "", events, () if delta.refusal else tokens)
        if delta.refusal:
            reply.is_refused = True
            reply.text(delta.refusal, events, tokens)
        for call in delta.tool_calls or ():
            self._add_tool(call, events)
        if delta.function_call is not None:
            self._add_tool(ToolCall(0, None, delta.function_call), events)

    def _check_details(self) -> None:
        if self._details.size_bytes > self._budget.text_bytes:
            raise self._reply.too_large("reasoning", self._budget.text_bytes)

    def _add_tool(self, call: ToolCall, events: list[Event]) -> None:
        """Collect a piece of a tool call."""
        given = call.function or _NO_FUNCTION
        arguments = given.arguments or ""
        if not isinstance(arguments, str):
            arguments = msgspec.json.encode(without_surrogates(arguments)).decode()
        tool_id, name = call.id or "", given.name or ""
        key = self._key(call.index, tool_id, name)
        self._reply.tool(key, events, tool_id=tool_id, name=name, arguments=arguments)

    def _key(self, index: int | None, tool_id: str, name: str) -> Hashable:
        """Which call a piece belongs to.

        The index says it, or the id where there is none; with neither, a piece belongs to the call before unless that
        is whole. Some servers give each call the index 0: an id and a name that are both new begin another.
        """
        reply = self._reply
        if index is not None:
            key = self._call_keys.get(index)
            is_other = key is not None and bool(name) and _is_other(reply.tool_of(key), tool_id)
            if key is None or is_other:
                known = self._call_ids.get(tool_id) if is_other or not name else None
                key = self._call_keys[index] = (index, tool_id) if known is None else known
        elif tool_id:
            key = self._call_ids.get(tool_id, tool_id)
        else:
            key = self._next_key(name)
        if tool_id:
            self._call_ids.setdefault(tool_id, key)
        return key

    def _next_key(self, name: str) -> Hashable:
        last = self._reply.last_tool
        if last is None:
            return ("next", 0)
        return ("next", last[1].index + 1) if name and last[1].is_whole else last[0]

    def _stop(self, said: str) -> None:
        self._reply.stop(_FINISH.get(said, FinishReason.UNKNOWN), said)

    def _read_whole(self, body: bytes, events: list[Event]) -> None:
        try:
            completion = _decode_whole(body)
        except MALFORMED:
            completion = self._repaired(body, Completion)
        if completion.error is not None or not completion.choices:
            self._check_odd(completion, body)
            raise self._reply.malformed("what is no chat completion")
        self._reply.start(completion.model, events)
        self._usage = completion.usage
        choice = completion.choices[0]
        if choice.message is not None:
            for place, call in enumerate(choice.message.tool_calls or ()):
                call.index = place
            self._read_rest(choice.message, choice.logprobs, events)
        self._stop(choice.finish_reason or "")

    def _repaired(self, data: bytes, kind: type[Any]) -> Any:
        """Read what msgspec refuses and is common all the same: bytes that are no UTF-8, half a surrogate pair.

        And content in parts, which is not common: then the chunk is read as one of another kind.
        """
        try:
            given, has_surrogates = lenient(data)
            chunk = msgspec.convert(_plain(given), kind)
        except (ValueError, RecursionError):  # msgspec's refusal is a ValueError, too
            raise self._reply.malformed("what is no chunk") from None
        self._is_slow = self._stays_slow = True
        self._reply.has_surrogates |= has_surrogates
        return chunk

    def _check_odd(self, chunk: Chunk | Completion, data: bytes) -> None:
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
        if self._tags is not None and self._reply.model:
            for is_thought, piece in self._tags.end():
                self._reply.think(piece, events) if is_thought else self._reply.text(piece, events)
        self._reply.usage = read_usage(self._usage, says_cost=self._says_cost)
        self._reply.signature = self._details.written()
        super()._finish(events)


_NO_FUNCTION = Function()


def _plain(given: Any) -> Any:
    """A chunk with content in parts as one that has them apart."""
    choices = given.get("choices") if isinstance(given, dict) else None
    for choice in choices if isinstance(choices, list) else ():
        said = (choice.get("delta") or choice.get("message")) if isinstance(choice, dict) else None
        if isinstance(said, dict) and isinstance(said.get("content"), list):
            said["parts"] = said.pop("content")
    return given


def _is_other(parts: ToolParts | None, tool_id: str) -> bool:
    return parts is not None and bool(parts.id) and bool(tool_id) and parts.id != tool_id
