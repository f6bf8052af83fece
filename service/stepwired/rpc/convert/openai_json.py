"""Messages as OpenAI's chat completions take them.

What they cannot say is lost: ids, branches, times, metadata, reasoning, the status, kinds of tools, whether a tool
failed, messages without text and pictures, and of pictures all but where they are and how closely to look.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from stepwire.v1 import message_pb2
from stepwired.conversation import compact_json
from stepwired.events import Image, Json, Message, Role
from stepwired.rpc.convert.file_values import Fields, Url, fault, picture, struct

#: Tool uses that are joined in one message: what OpenAI takes, and a bound of memory.
_CALLS_TOGETHER = 128


class OpenAiWriter:
    """Writes a conversation message by message. Tool uses, and the text before them, become one message.

    Args:
        url: Writes the address of each picture.
    """

    def __init__(self, url: Url) -> None:
        self._url = url
        self._open: dict[str, Json] | None = None
        """A message of the assistant that tool uses may still be added to."""

    def add(self, message: Message) -> Iterator[dict[str, Json]]:
        """Take one message more; yield those that are now whole."""
        if use := message.tool_use:
            function: dict[str, Json] = {"name": use.name, "arguments": compact_json(use.input)}
            call: dict[str, Json] = {"id": use.tool_id, "type": "function", "function": function}
            calls = self._open.setdefault("tool_calls", []) if self._open else None
            if isinstance(calls, list) and len(calls) < _CALLS_TOGETHER:
                calls.append(call)
                return
            yield from self.finish()
            self._open = {"role": Role.ASSISTANT.value, "content": None, "tool_calls": [call]}
            return
        yield from self.finish()
        if result := message.tool_result:
            yield {"role": Role.TOOL.value, "tool_call_id": result.tool_id, "content": result.result}
        elif message.text or message.images:
            said: dict[str, Json] = {"role": message.role.value, "content": self._content(message)}
            if message.role is Role.ASSISTANT:
                self._open = said
            else:
                yield said

    def finish(self) -> Iterator[dict[str, Json]]:
        """Yield what is still held back."""
        if self._open is not None:
            yield self._open
            self._open = None

    def _content(self, message: Message) -> Json:
        if not message.images:
            return message.text
        parts: list[Json] = [{"type": "text", "text": message.text}] if message.text else []
        return [*parts, *map(self._part, message.images)]

    def _part(self, image: Image) -> Json:
        return {"type": "image_url", "image_url": {"url": self._url(image), "detail": image.detail}}


def of_openai_object(path: str, value: Any) -> list[message_pb2.Message]:
    """Read one message: what it says, then each of its tool calls. Fields that we do not know are ignored.

    Raises:
        InvalidRequest: INVALID_CONVERSATION, it is none, or has a kind of content that is not kept here.
    """
    fields = Fields(path, value)
    role = fields.text("role")
    if role == "tool" and fields.has("tool_call_id"):
        result = message_pb2.ToolResult(tool_id=fields.text("tool_call_id"), result=_texts(fields))
        return [message_pb2.Message(tool_result=result)]
    said = message_pb2.Message(role="system" if role == "developer" else role)
    _say(said, fields)
    if not said.text and fields.has("refusal"):
        said.text = fields.text("refusal")
    calls = fields.items("tool_calls")
    uses = [_tool_use(f"{path}.tool_calls[{index}]", call) for index, call in enumerate(calls)]
    is_only_calls = uses and not (said.text or said.images)
    return [*([] if is_only_calls else [said]), *(message_pb2.Message(tool_use=use) for use in uses)]


def _say(said: message_pb2.Message, fields: Fields) -> None:
    content = fields.get("content")
    if not isinstance(content, list):
        said.text = fields.text("content")
        return
    texts = []
    for index, item in enumerate(content):
        part = Fields(f"{fields.path}.content[{index}]", item)
        match part.text("type"):
            case "text" | "refusal" as name:
                texts.append(part.text(name))
            case "image_url":
                said.images.append(_image(f"{part.path}.image_url", part.get("image_url")))
            case other:
                raise fault(f"{part.path}.type", f"`{other[:64]}` is none of text, refusal and image_url")
    said.text = "".join(texts)


def _texts(fields: Fields) -> str:
    said = message_pb2.Message()
    _say(said, fields)
    if said.images:
        raise fault(f"{fields.path}.content", "has an image, and the result of a tool is text")
    return said.text


def _image(path: str, value: Any) -> message_pb2.Image:
    fields = Fields(path, value)
    written = picture(f"{path}.url", fields.text("url"))
    written.detail = fields.text("detail")
    return written


def _tool_use(path: str, value: Any) -> message_pb2.ToolUse:
    fields = Fields(path, value)
    function = Fields(f"{path}.function", fields.get("function"))
    where = f"{function.path}.arguments"
    try:
        arguments = json.loads(function.text("arguments") or "{}")
    except (ValueError, RecursionError):
        raise fault(where, "is no JSON") from None
    if not isinstance(arguments, dict):
        raise fault(where, "must be an object in JSON")
    return message_pb2.ToolUse(
        tool_id=fields.text("id"), name=function.text("name"), input=struct(where, arguments), tool_type="function"
    )
