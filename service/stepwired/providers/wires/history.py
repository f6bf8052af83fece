"""Puts messages in the order that every wire insists on: what a tool answered comes right behind what it was asked."""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from collections.abc import Iterable
from itertools import groupby

import msgspec

from stepwired.events import ChatRequest, Image, Message, Role, ToolResult


def uses_tool(message: Message) -> bool:
    """Whether it is a model's wish to have a tool called."""
    return message.tool_use is not None


def is_hidden(message: Message) -> bool:
    """Whether no model is to see it."""
    return message.metadata.get("hidden") is True


def told_result(result: ToolResult) -> str:
    """What a tool answered, for wires that cannot say by a field that it failed."""
    return f"Error: {result.result}" if result.is_error else result.result


def system_text(request: ChatRequest) -> str:
    """All that the system says, wherever it stands, for wires that want it in one place."""
    said = (request.system, *(message.text for message in request.messages if message.role is Role.SYSTEM))
    return "\n\n".join(text for text in said if text)


def base64_of(image: Image, before: bytes = b"") -> msgspec.Raw:
    """The bytes of a picture as a JSON string, behind what needs no escapes either.

    Copied as it is: looking for what has to be escaped, where nothing is, takes 30 ms for a large picture.
    """
    return msgspec.Raw(b'"%b%b"' % (before, b64encode(image.data)))


def in_order(messages: Iterable[Message]) -> list[Message]:
    """The messages that a model is sent.

    Those marked `hidden` are left out. The results of tool uses that follow each other stand right behind the last of
    them, in the uses' order, wherever they stood. A result whose use comes later or never, or has a result already,
    stays where it is: the provider will say what it thinks.
    """
    visible = [message for message in messages if not is_hidden(message)]
    groups = [list(group) for _, group in groupby(visible, key=uses_tool)]
    answers = _answers(groups)
    placed = {id(answer) for answer in answers.values()}
    said: list[Message] = []
    for group in groups:
        said += (message for message in group if id(message) not in placed)
        said += (answers[id(message)] for message in group if id(message) in answers)
    return said


def _answers(groups: Iterable[list[Message]]) -> dict[int, Message]:
    """The result of each use, by the `id()` of its message.

    Of uses with the same id, which servers that number the uses of each reply anew make, the latest is answered.
    """
    answers: dict[int, Message] = {}
    waiting: dict[str, deque[Message]] = {}
    for group in groups:
        # Several of one id in one reply are answered in order.
        waiting |= {message.tool_use.tool_id: deque() for message in group if message.tool_use is not None}
        for message in group:
            if message.tool_use is not None:
                waiting[message.tool_use.tool_id].append(message)
            elif message.tool_result is not None and (uses := waiting.get(message.tool_result.tool_id)):
                answers[id(uses.popleft())] = message
    return answers
