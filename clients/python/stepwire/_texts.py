"""Messages as text: the strings that the server makes, made here for conversations that it does not know."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal, TypeAlias

from stepwire import _values
from stepwire.v1 import message_pb2

#: How chat messages are written: `[role]: text` or `(role): text`.
Style: TypeAlias = Literal["brackets", "geppetto"]


STYLES: tuple[Style, ...] = ("brackets", "geppetto")


def view(message: message_pb2.Message, style: Style) -> str:
    """One message: `[role]: text` without trailing newlines, `ToolUseContent{…}` or `ToolResultContent{…}`."""
    if message.HasField("tool_use"):
        use = message.tool_use
        return f"ToolUseContent{{ToolID: {use.tool_id}, Name: {use.name}, Input: {arguments(use)}}}"
    if message.HasField("tool_result"):
        return f"ToolResultContent{{ToolID: {message.tool_result.tool_id}, Result: {message.tool_result.result}}}"
    return _spoken(message, style).rstrip("\n")


def single_prompt(messages: Sequence[message_pb2.Message], style: Style, *, include_tools: bool) -> str:
    """All messages as one prompt: a line for each, or the bare text of a chat message that is the only one."""
    if len(messages) == 1 and not _is_tool(messages[0]):
        return messages[0].text
    return "".join(_line(message, style) for message in messages if include_tools or not _is_tool(message))


def _line(message: message_pb2.Message, style: Style) -> str:
    if message.HasField("tool_use"):
        return f"[tool-use {message.tool_use.name}]: {arguments(message.tool_use)}\n"
    if message.HasField("tool_result"):
        return f"[tool-result]: {message.tool_result.result}\n"
    return f"{_spoken(message, style)}\n"


def _is_tool(message: message_pb2.Message) -> bool:
    return message.HasField("tool_use") or message.HasField("tool_result")


def _spoken(message: message_pb2.Message, style: Style) -> str:
    if style == "geppetto":
        return f"({message.role}): " + ("\n" if message.text.startswith("```") else "") + message.text
    return f"[{message.role}]: {message.text}"


def arguments(use: message_pb2.ToolUse) -> str:
    """What a tool is to be called with, as compact JSON."""
    return json.dumps(_values.from_struct(use.input), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
