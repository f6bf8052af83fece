"""Reads a chat of Ollama's wire, streamed or whole: bytes in, events out, no I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from stepwired.events import ChatOptions, Event, FinishReason
from stepwired.providers.base import Budget
from stepwired.providers.reading.decoder import Decoder
from stepwired.providers.reading.mending import MALFORMED, lenient, without_surrogates
from stepwired.providers.reading.pieces import usage_of
from stepwired.providers.reading.sse import Lines
from stepwired.providers.refusing.refusals import Asked, of_event
from stepwired.providers.wires.ollama.refusals import meant
from stepwired.providers.wires.openai.shapes import read_logprobs

_FINISH = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH, "": FinishReason.STOP}


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: dict[str, Any] | str | None = None


class _ToolCall(msgspec.Struct, gc=False):
    id: str | None = None
    function: _Function | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Line(msgspec.Struct, gc=False):
    model: str | None = None
    message: _Message | None = None
    done: bool | None = None
    done_reason: str | None = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    logprobs: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Line).decode


class OllamaDecoder(Decoder):
    """See `Decoder`. Tool calls come whole, mostly without ids."""

    def __init__(
        self,
        asked: Asked,
        budget: Budget | None = None,
        options: ChatOptions | None = None,
        first_id: int = 0,
    ) -> None:
        budget = budget or Budget()
        super().__init__(asked, budget, options, first_id, Lines(budget.event_bytes, asked.provider))
        self._has_logprobs = options is not None and options.top_logprobs is not None
        self._calls = 0

    def _read(self, data: bytes, events: list[Event]) -> bool:
        """Add the events of one line. False for the last."""
        try:
            line = _decode(data)
        except MALFORMED:
            line = self._repaired(data)
        if line.error is not None:
            raise meant(self._asked, of_event(self._asked, line.error))
        if line.message is None and line.done is None:
            raise self._reply.malformed("what is no line of a chat")
        reply = self._reply
        if not reply.model:
            reply.start(line.model, events)
        if (message := line.message) is not None:
            if message.thinking:
                reply.think(message.thinking, events)
            tokens = read_logprobs({"content": line.logprobs}) if self._has_logprobs else ()
            if message.content or tokens:
                reply.text(message.content or "", events, tokens)
            for call in message.tool_calls or ():
                self._add_tool(call, events)
        if line.done:
            said = line.done_reason or ""
            reply.stop(_FINISH.get(said, FinishReason.UNKNOWN), said)
            if line.prompt_eval_count is not None or line.eval_count is not None:
                reply.usage = usage_of(line.prompt_eval_count, line.eval_count)
            return False
        return True

    def _add_tool(self, call: _ToolCall, events: list[Event]) -> None:
        given = call.function or _Function()
        arguments = given.arguments if given.arguments is not None else {}
        if not isinstance(arguments, str):
            arguments = msgspec.json.encode(without_surrogates(arguments)).decode()
        self._reply.tool(self._calls, events, tool_id=call.id or "", name=given.name or "", arguments=arguments)
        self._calls += 1

    def _read_whole(self, body: bytes, events: list[Event]) -> None:
        if self._read(body, events):
            raise self._reply.malformed("a reply that is not whole")

    def _repaired(self, data: bytes) -> _Line:
        try:
            given, has_surrogates = lenient(data)
            line = msgspec.convert(given, _Line)
        except (ValueError, RecursionError):  # msgspec's refusal is a ValueError, too
            raise self._reply.malformed("what is no line of a chat") from None
        self._reply.has_surrogates |= has_surrogates
        return line
