"""Counts tokens of what a caller would send, a stored conversation included."""

from __future__ import annotations

from dataclasses import replace

from stepwire.v1 import chat_pb2
from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.events import ChatRequest, CountTokens, Image, Message, TokenCount
from stepwired.limits import Limits
from stepwired.rpc import aside
from stepwired.rpc.convert.chat import count_request
from stepwired.store.base import ConversationStore
from stepwired.store.replies import read_path


class Counter:
    """Answers CountTokens.

    Args:
        count: Counts what a model would read.
        store: Has the conversations.
        limits: Of texts and messages.
    """

    def __init__(self, count: CountTokens, store: ConversationStore, limits: Limits) -> None:
        self._count = count
        self._store = store
        self._limits = limits

    async def count(self, given: chat_pb2.CountTokensRequest, caller_key: str) -> TokenCount:
        """Count. Nothing is stored.

        Raises:
            InvalidRequest: The request is wrong; CONTEXT_LENGTH_EXCEEDED, the conversation is longer than any request.
            NotFound: MODEL_NOT_FOUND, CONVERSATION_NOT_FOUND, MESSAGE_NOT_FOUND or BLOB_NOT_FOUND.
        """
        asked = await aside.read(count_request, given, self._limits)
        known: dict[str, Image] = {}
        asked = replace(asked, messages=tuple([await self._described(message, known) for message in asked.messages]))
        return await self._count(replace(await self._whole(asked), caller_key=caller_key))

    async def _described(self, message: Message, known: dict[str, Image]) -> Message:
        """The message with the size of its stored pictures, which is what they cost; each is looked up once."""
        if not message.images:
            return message
        images = []
        for given in message.images:
            image, blob_id = given, given.blob_id
            if blob_id:
                if blob_id not in known:
                    known[blob_id] = await self._store.blob(blob_id)
                image = replace(known[blob_id], name=given.name, detail=given.detail)
            images.append(image)
        return replace(message, images=tuple(images))

    async def _whole(self, asked: ChatRequest) -> ChatRequest:
        """The request as a model would be sent it."""
        conversation_id = asked.conversation_id
        if not conversation_id:
            return asked
        path = await read_path(self._store, conversation_id, asked.parent_id, self._limits.request_text_bytes)
        if not (path or asked.messages):
            text = "has no message to reply to: send a prompt or messages"
            raise InvalidRequest.of([Violation("conversation_id", text, Reason.INVALID_CONVERSATION)])
        return replace(asked, messages=(*path, *asked.messages), conversation_id="", parent_id="")
