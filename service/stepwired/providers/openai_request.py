"""Writes requests of the OpenAI wire. Equal requests give equal bytes, so that providers' prompt caches hit."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

import msgspec

from stepwired.events import ChatRequest, Image, Json, Message, Role, ToolResult, ToolUse
from stepwired.providers.history import in_order, uses_tool
from stepwired.providers.quirks import Quirks

_encode = msgspec.json.encode


def chat_body(request: ChatRequest, quirks: Quirks = Quirks(), provider: str = "") -> bytes:
    """The JSON of a streamed chat completion.

    `max_tokens` is the older spelling of `max_completion_tokens`: every server of this wire knows it, while
    few but OpenAI know the newer one, which OpenAI's reasoning models insist on.
    """
    options = request.options
    body: dict[str, Any] = {
        "model": request.model,
        "messages": chat_messages(request.system, request.messages),
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": options.temperature,
        "top_p": options.top_p,
        "max_tokens": options.max_tokens,
        "stop": options.stop or None,
        "seed": options.seed,
        "presence_penalty": options.presence_penalty,
        "frequency_penalty": options.frequency_penalty,
    }
    return _encode({name: value for name, value in body.items() if value is not None})


def image_bytes(messages: Iterable[Message]) -> int:
    """Bytes of all pictures that are sent with these messages."""
    return sum(len(image.data) for message in messages for image in message.images)


def chat_messages(system: str, messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Messages as the wire wants them.

    Tool uses that follow each other, and the text before them, are one message of the assistant; right behind
    it come their results, wherever they stood. Messages marked `hidden` are left out, and so is reasoning:
    this wire has no place to send it back. Pictures are sent by their bytes, or by the address they are kept as.
    """
    said: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    for are_uses, group in groupby(in_order(messages), key=uses_tool):
        if are_uses:
            _add_tool_uses(group, said)
        else:
            said.extend(map(_other, group))
    return said


def _add_tool_uses(group: Iterable[Message], said: list[dict[str, Any]]) -> None:
    calls: list[Json] = [_tool_call(message.tool_use) for message in group if message.tool_use is not None]
    if said and said[-1]["role"] == Role.ASSISTANT.value and "tool_calls" not in said[-1]:
        said[-1]["tool_calls"] = calls
    else:
        said.append({"role": Role.ASSISTANT.value, "content": None, "tool_calls": calls})


def _other(message: Message) -> dict[str, Any]:
    if message.tool_result is not None:
        return _tool_answer(message.tool_result)
    return {"role": message.role.value, "content": _content(message)}


def _content(message: Message) -> str | list[dict[str, Any]]:
    if not message.images:
        return message.text
    parts: list[dict[str, Any]] = [{"type": "text", "text": message.text}] if message.text else []
    return parts + [{"type": "image_url", "image_url": _image(image)} for image in message.images]


def _image(image: Image) -> dict[str, Any]:
    assert image.data or image.uri, "the bytes of stored pictures are put in before a wire is asked"
    url: Any = image.uri
    if image.data:
        # Copied as it is: looking for what has to be escaped, where nothing is, takes 30 ms for a large picture.
        url = msgspec.Raw(b'"data:%b;base64,%b"' % (image.media_type.encode(), b64encode(image.data)))
    return {"url": url} if image.detail in {"", "auto"} else {"url": url, "detail": image.detail}


def _tool_call(use: ToolUse) -> dict[str, Any]:
    function: dict[str, Any] = {"name": use.name, "arguments": _sorted(use.input)}
    return {"id": use.tool_id, "type": "function", "function": function}


def _tool_answer(result: ToolResult) -> dict[str, Any]:
    return {"role": Role.TOOL.value, "tool_call_id": result.tool_id, "content": result.result}


def _sorted(value: Mapping[str, Json]) -> str:
    """Compact JSON with sorted keys: the input may come from a protobuf Struct, which has no order."""
    return _encode(value, order="sorted").decode()
