"""How messages are written as text, and which of them a model is sent."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from stepwired.conversation.metadata import compact_json
from stepwired.events import Message


class RenderFormat(Enum):
    """How chat messages are written as text."""

    BRACKETS = "brackets"
    """`[role]: text`."""

    GEPPETTO = "geppetto"
    """`(role): text`, with a newline before text that begins with a code fence."""


def for_model(messages: Iterable[Message]) -> tuple[Message, ...]:
    """The messages that a model is sent, in their order: all but those with `hidden: true` in their metadata.

    Interrupted replies are sent as far as they came, because the user has read them and may refer to them.
    """
    return tuple(message for message in messages if message.metadata.get("hidden") is not True)


def view(message: Message, style: RenderFormat = RenderFormat.BRACKETS) -> str:
    """One message as text: `[role]: text` without trailing newlines, `ToolUseContent{…}` or `ToolResultContent{…}`."""
    if use := message.tool_use:
        return f"ToolUseContent{{ToolID: {use.tool_id}, Name: {use.name}, Input: {compact_json(use.input)}}}"
    if result := message.tool_result:
        return f"ToolResultContent{{ToolID: {result.tool_id}, Result: {result.result}}}"
    return _spoken(message, style).rstrip("\n")


def single_prompt(
    messages: Iterable[Message], style: RenderFormat = RenderFormat.BRACKETS, *, include_tools: bool = False
) -> str:
    """All messages as one prompt: a line for each, or the bare text of a chat message that is the only one."""
    everything = tuple(messages)
    if len(everything) == 1 and not (everything[0].tool_use or everything[0].tool_result):
        return everything[0].text
    return "".join(prompt_line(message, style, include_tools=include_tools) for message in everything)


def prompt_line(message: Message, style: RenderFormat = RenderFormat.BRACKETS, *, include_tools: bool = False) -> str:
    """A message's part of a prompt of several, newline included; empty for what is left out of it."""
    if message.tool_use:
        return f"[tool-use {message.tool_use.name}]: {compact_json(message.tool_use.input)}\n" if include_tools else ""
    if message.tool_result:
        return f"[tool-result]: {message.tool_result.result}\n" if include_tools else ""
    return _spoken(message, style) + "\n"


def _spoken(message: Message, style: RenderFormat) -> str:
    if style is RenderFormat.GEPPETTO:
        return f"({message.role}): " + ("\n" if message.text.startswith("```") else "") + message.text
    return f"[{message.role}]: {message.text}"
