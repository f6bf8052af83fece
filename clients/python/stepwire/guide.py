"""The guide to the JavaScript API, in the guide's own spelling. Everyday Python: `stepwire`.

from stepwire.guide import Conversation, Steps

conv = Conversation()
conv.AddMessage("user", "Hello", {"metadata": {"source": "config"}})
print(conv.GetSinglePrompt())

steps = Steps(client)
print(steps.createMapStep(lambda x: x * 2).startBlocking([1, 2, 3]))  # [2, 4, 6]

chat = ChatStepFactory(client).newStep([{"temperature": 0.7, "maxTokens": 40}])
print("".join(chat.startBlocking(conv)))
"""

# ruff: noqa: N802, N815  the guide's names

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from google.protobuf import json_format

import stepwire
from stepwire import _values
from stepwire._arguments import MessageOptions
from stepwire._guide_chat import ChatStep, ChatStepFactory
from stepwire._guide_steps import AbortController, AbortError, AbortSignal, GuideStep, Steps
from stepwire._pictures import PictureLike
from stepwire.v1.message_pb2 import Image, Message

__all__ = [
    "AbortController",
    "AbortError",
    "AbortSignal",
    "ChatStep",
    "ChatStepFactory",
    "Conversation",
    "GuideStep",
    "Steps",
]

_OPTIONS = {"metadata": "metadata", "parentID": "parent_id", "time": "time", "id": "message_id"}


class Conversation:
    """Messages, added one after the other. Options are `metadata`, `parentID`, `time` (RFC 3339) and `id`.

    Args:
        client: Keeps the conversation if `conversation_id` names one; without, it is kept here.
        conversation_id: A conversation of the server.
    """

    def __init__(self, client: stepwire.Client | None = None, conversation_id: str = "") -> None:
        self._conversation = stepwire.Conversation(client, conversation_id)

    def AddMessage(self, role: str, text: str, options: Mapping[str, Any] | None = None) -> str:
        return self._conversation.add_message(role, text, **_options(options))

    def AddMessageWithImage(
        self, role: str, text: str, image: PictureLike, options: Mapping[str, Any] | None = None
    ) -> str:
        return self._conversation.add_message_with_image(role, text, image, **_options(options))

    def AddToolUse(self, toolID: str, name: str, input: dict[str, Any]) -> str:  # noqa: A002, N803
        return self._conversation.add_tool_use(toolID, name, input)

    def AddToolResult(self, toolID: str, result: str) -> str:  # noqa: N803
        return self._conversation.add_tool_result(toolID, result)

    def GetMessages(self) -> list[dict[str, Any]]:
        """List the messages as the guide's objects; times are `datetime` with their zone."""
        return [_object(message) for message in self._conversation.get_messages()]

    def GetMessageView(self, id: str) -> str:  # noqa: A002
        return self._conversation.get_message_view(id)

    def UpdateMetadata(self, id: str, metadata: dict[str, Any]) -> bool:  # noqa: A002
        return self._conversation.update_metadata(id, metadata)

    def GetSinglePrompt(self) -> str:
        return self._conversation.get_single_prompt()

    def ToGoConversation(self) -> dict[str, Any]:
        """Return all messages as the server exports them: `{"messages": […]}`, each in proto JSON."""
        return {"messages": [json_format.MessageToDict(message) for message in self._conversation.get_messages("all")]}

    toGoConversation = ToGoConversation

    def _protos(self) -> list[Message]:
        """List the messages as the wire has them, for a chat step."""
        return self._conversation.get_messages()


def _options(given: Mapping[str, Any] | None) -> MessageOptions:
    made: MessageOptions = {}
    for name, value in (given or {}).items():
        if name not in _OPTIONS:
            raise TypeError(f"`{name}` is no option: there are {', '.join(_OPTIONS)}")
        made[_OPTIONS[name]] = value  # type: ignore[literal-required]
    return made


def _object(message: Message) -> dict[str, Any]:
    common = {
        "id": message.id,
        "parentID": message.parent_id,
        "time": message.create_time.ToDatetime(tzinfo=UTC),
        "lastUpdate": message.update_time.ToDatetime(tzinfo=UTC),
        "metadata": _values.from_struct(message.metadata),
    }
    if message.HasField("tool_use"):
        use = message.tool_use
        own = {"toolID": use.tool_id, "name": use.name, "input": _values.from_struct(use.input)}
        return {**common, "type": "tool-use", **own, "toolType": use.tool_type}
    if message.HasField("tool_result"):
        result = message.tool_result
        return {**common, "type": "tool-result", "toolID": result.tool_id, "result": result.result}
    said = {**common, "type": "chat-message", "role": message.role, "text": message.text}
    return {**said, "images": [_image(image) for image in message.images]} if message.images else said


def _image(image: Image) -> dict[str, str]:
    url = image.uri or image.blob_id
    if image.data:
        url = f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"
    return {
        "imageURL": url,
        "imageName": image.name,
        "mediaType": image.media_type,
        "detail": image.detail or "auto",
    }
