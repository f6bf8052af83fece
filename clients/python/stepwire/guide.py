"""The guide to the JavaScript API, in the guide's own spelling. Everyday Python: `stepwire`.

from stepwire.guide import ChatStepFactory, Conversation, Embeddings, Steps

conv = Conversation()
conv.AddMessage("user", "Hello", {"metadata": {"source": "config"}})
print(conv.GetSinglePrompt())

steps = Steps(client)
print(steps.createMapStep(lambda x: x * 2).startBlocking([1, 2, 3]))  # [2, 4, 6]

embeddings = Embeddings(client)
print(embeddings.getModel().name, embeddings.generateEmbedding("Hello, world!"))

chat = ChatStepFactory(client).newStep([{"temperature": 0.7, "maxTokens": 40}])
print("".join(chat.startBlocking(conv)))

Every method answers to both spellings of the guide, `createMapStep` and `CreateMapStep`. Errors have `name`, `reason`,
`isTransient` and `includes(text)`.
"""

# ruff: noqa: N802, N815  the guide's names

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from google.protobuf import json_format

import stepwire
from stepwire import _values
from stepwire._arguments import MessageOptions
from stepwire._guide_abort import AbortController, AbortError, AbortSignal
from stepwire._guide_chat import ChatStep, ChatStepFactory
from stepwire._guide_embeddings import Embeddings, ModelInfo
from stepwire._guide_steps import GuideStep, Steps
from stepwire._pictures import PictureLike
from stepwire.v1.message_pb2 import Image, Message

__all__ = [
    "AbortController",
    "AbortError",
    "AbortSignal",
    "ChatStep",
    "ChatStepFactory",
    "Conversation",
    "Embeddings",
    "GuideStep",
    "ModelInfo",
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
        self._client = client
        self._conversation = stepwire.Conversation(client, conversation_id)
        self._last = ""
        """The message that was added here last; empty before the first."""

        self._skipped: dict[str, str] = {}
        """Ids of messages that were not kept, with the message that was the last then."""

    def AddMessage(self, role: str, text: str, options: Mapping[str, Any] | None = None) -> str:
        """Add what somebody says; the id of the message.

        An empty reply without options, as a chat that is cancelled before its first word leaves behind, is not kept: as
        `parentID`, its id stands for the message before it: the server is asked for that if nothing was added here.
        """
        if role == "assistant" and text == "" and not options:
            return self._skip()
        return self._added(self._conversation.add_message(role, text, **self._options(options)))

    def AddMessageWithImage(
        self, role: str, text: str, image: PictureLike, options: Mapping[str, Any] | None = None
    ) -> str:
        return self._added(self._conversation.add_message_with_image(role, text, image, **self._options(options)))

    def AddToolUse(
        self,
        toolID: str,  # noqa: N803
        name: str,
        input: dict[str, Any],  # noqa: A002
        options: Mapping[str, Any] | None = None,
    ) -> str:
        return self._added(self._conversation.add_tool_use(toolID, name, input, **self._options(options)))

    def AddToolResult(self, toolID: str, result: str, options: Mapping[str, Any] | None = None) -> str:  # noqa: N803
        return self._added(self._conversation.add_tool_result(toolID, result, **self._options(options)))

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

    addMessage = AddMessage
    addMessageWithImage = AddMessageWithImage
    addToolUse = AddToolUse
    addToolResult = AddToolResult
    getMessages = GetMessages
    getMessageView = GetMessageView
    updateMetadata = UpdateMetadata
    getSinglePrompt = GetSinglePrompt
    toGoConversation = ToGoConversation

    def _protos(self) -> list[Message]:
        """List the messages as the wire has them, for a chat step."""
        return self._conversation.get_messages()

    def _skip(self) -> str:
        id = str(uuid.uuid4())  # noqa: A001
        self._skipped[id] = self._last or self._head()
        return id

    def _head(self) -> str:
        """The message that was there already; empty if there is none."""
        if self._client is None or not self._conversation.id:
            return ""
        return self._client.conversation(self._conversation.id).head_id

    def _added(self, id: str) -> str:  # noqa: A002
        self._last = id
        return id

    def _options(self, given: Mapping[str, Any] | None) -> MessageOptions:
        made: MessageOptions = {}
        for name, value in (given or {}).items():
            if name not in _OPTIONS:
                raise TypeError(f"`{name}` is no option: there are {', '.join(_OPTIONS)}")
            made[_OPTIONS[name]] = value  # type: ignore[literal-required]
        if (parent_id := made.get("parent_id", "")) in self._skipped:
            made["parent_id"] = self._skipped[parent_id]
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
