"""Tools for models whose chat template knows none: a call is asked for as JSON of a schema, and read back as a call."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from stepwired.events import ChatOptions, ChatRequest, Event, FinishReason, Message, ResponseFormat, Role, Tool
from stepwired.providers.wires.history import in_order
from stepwired.providers.wires.openai.shapes import Delta
from stepwired.providers.wires.openai.stream import OpenAIDecoder
from stepwired.providers.wires.quirks import Quirks

_UNFORCED = frozenset({"", "auto", "none"})

#: How a reply begins that has our schema: its keys come in the schema's order.
_BEGIN = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*')

_sorted = msgspec.json.Encoder(order="sorted").encode


def is_call(options: ChatOptions) -> bool:
    """Whether the reply has to be a tool call."""
    return bool(options.tools) and options.tool_choice not in _UNFORCED


def is_by_format(options: ChatOptions, quirks: Quirks) -> bool:
    """Whether the request has to be put in words before it is sent."""
    return quirks.tools_by_format == "always" or (quirks.tools_by_format == "forced" and is_call(options))


def in_words(request: ChatRequest) -> ChatRequest:
    """The request without tools, that asks for the same: a call has the format of one, those that were are told.

    Where no call is asked for, the model is told of no tool: it could not call one.
    """
    options = replace(request.options, tools=(), tool_choice="", parallel_tool_calls=None)
    messages = tuple(map(_in_words, in_order(request.messages)))
    if not is_call(request.options):
        return replace(request, messages=messages, options=options)
    choice = request.options.tool_choice
    tools = [tool for tool in request.options.tools if choice in ("required", tool.name)]
    wanted = ResponseFormat(msgspec.json.encode(_schema(tools)), "call")
    told = "".join(f"\n{tool.name}: {tool.description}" for tool in tools)
    system = f"Answer with a call of one of these functions, as JSON with its name and its arguments:{told}"
    system = f"{request.system}\n\n{system}" if request.system else system
    return replace(request, system=system, messages=messages, options=replace(options, response_format=wanted))


def _in_words(message: Message) -> Message:
    if (use := message.tool_use) is not None:
        text = _sorted({"name": use.name, "arguments": use.input}).decode()
        return replace(message, text=text, tool_use=None)
    if (result := message.tool_result) is not None:
        what = "The function failed" if result.is_error else "The function answered"
        return replace(message, role=Role.USER, text=f"{what}: {result.result}", tool_result=None)
    return message


def _schema(tools: Iterable[Tool]) -> dict[str, Any]:
    """What a call of one of them looks like."""
    calls: list[dict[str, Any]] = []
    parts: dict[str, Any] = {}
    for index, tool in enumerate(tools):
        arguments = msgspec.json.decode(tool.schema)
        if b'"$ref"' in tool.schema:
            parts[f"tool{index}"] = _moved(arguments, f"#/$defs/tool{index}")
            arguments = {"$ref": f"#/$defs/tool{index}"}
        calls.append(
            {
                "type": "object",
                "properties": {"name": {"const": tool.name}, "arguments": arguments},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    schema = calls[0] if len(calls) == 1 else {"anyOf": calls}
    return schema | {"$defs": parts} if parts else schema


def _moved(part: Any, place: str) -> Any:
    """A schema that stands at `place` in another, its references too."""
    if isinstance(part, list):
        return [_moved(each, place) for each in part]
    if not isinstance(part, dict):
        return part
    return {
        name: place + value[1:]
        if name == "$ref" and isinstance(value, str) and value.startswith("#")
        else _moved(value, place)
        for name, value in part.items()
    }


class CallDecoder(OpenAIDecoder):
    """Reads a reply that is a call, written as JSON. Its arguments are told as they come."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._is_slow = self._stays_slow = True
        self._head = ""
        self._name: str | None = None
        self._held = ""
        """The last brace that has come, and what follows: the end of the call, if nothing else does."""

    def _read_rest(self, delta: Delta, logprobs: Any, events: list[Event]) -> None:
        if not delta.content:
            return
        piece = delta.content
        if self._name is None:
            self._head += piece
            if (begun := _BEGIN.match(self._head)) is None:
                if len(self._head) > self._budget.tool_bytes:
                    raise self._reply.too_large("tool calls", self._budget.tool_bytes)
                return
            self._name, piece = msgspec.json.decode(begun[1], type=str), self._head[begun.end() :]
        told, brace, rest = (self._held + piece).rpartition("}")
        if brace:
            self._held = brace + rest
        else:
            told, self._held = rest, ""
        self._reply.tool("call", events, name=self._name, arguments=told)

    def _finish(self, events: list[Event]) -> None:
        cut = (FinishReason.LENGTH, FinishReason.CONTENT_FILTER)
        if self._name is None and self._head.strip() and self._reply.reason not in cut:
            raise self._reply.malformed("what is no call of a tool, which was asked for")
        super()._finish(events)
