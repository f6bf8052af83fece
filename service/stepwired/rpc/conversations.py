"""Serves `stepwire.v1.ConversationService`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

import grpc

from stepwire.v1 import conversation_pb2, conversation_pb2_grpc
from stepwired import conversation as rules
from stepwired.events import Message
from stepwired.limits import Limits
from stepwired.rpc import aside
from stepwired.rpc.convert import conversations as convert
from stepwired.rpc.convert.messages import message_proto
from stepwired.rpc.convert.values import too_large
from stepwired.rpc.violations import utf8_bytes
from stepwired.store.base import ConversationStore

Context = grpc.aio.ServicerContext[Any, Any]


class ConversationServicer(conversation_pb2_grpc.ConversationServiceServicer):
    """Durable trees of messages. Holds no state of its own.

    Args:
        store: Keeps them.
        limits: Of messages and replies.
    """

    def __init__(self, store: ConversationStore, limits: Limits) -> None:
        self._store = store
        self._limits = limits

    async def CreateConversation(
        self, request: conversation_pb2.CreateConversationRequest, _: Context
    ) -> conversation_pb2.CreateConversationResponse:
        asked = await aside.read(convert.creation, request, self._limits)
        created, ids = await self._store.create(
            asked.conversation_id,
            title=asked.title,
            metadata=asked.metadata,
            messages=asked.messages,
            allow_orphan=asked.allow_orphan,
        )
        return conversation_pb2.CreateConversationResponse(
            conversation=convert.conversation_proto(created), message_ids=ids
        )

    async def GetConversation(
        self, request: conversation_pb2.GetConversationRequest, _: Context
    ) -> conversation_pb2.GetConversationResponse:
        found = await self._store.get(convert.conversation_id(request.conversation_id))
        return conversation_pb2.GetConversationResponse(conversation=convert.conversation_proto(found))

    async def AppendMessages(
        self, request: conversation_pb2.AppendMessagesRequest, _: Context
    ) -> conversation_pb2.AppendMessagesResponse:
        messages = await aside.read(convert.appended, request, self._limits)
        changed, ids = await self._store.append(
            request.conversation_id, messages, keep_head=request.keep_head, allow_orphan=request.allow_orphan
        )
        return conversation_pb2.AppendMessagesResponse(
            conversation=convert.conversation_proto(changed), message_ids=ids
        )

    async def StreamMessages(
        self, request: conversation_pb2.StreamMessagesRequest, _: Context
    ) -> AsyncGenerator[conversation_pb2.StreamMessagesResponse, None]:
        view = convert.view(request)
        pages = self._store.messages(request.conversation_id, view, request.message_id)
        async with aclosing(pages):
            async for page in pages:
                fill = partial(_responses, limit_bytes=self._limits.stream_message_bytes)
                for response in await aside.write(fill, page, page):
                    yield response

    async def RenderConversation(
        self, request: conversation_pb2.RenderConversationRequest, _: Context
    ) -> conversation_pb2.RenderConversationResponse:
        style = convert.render_format(request)
        if request.message_id:
            message = await self._store.message(request.conversation_id, request.message_id)
            text = rules.view(message, style)
        else:
            text = await self._prompt(request.conversation_id, style, include_tools=request.include_tools)
        response = conversation_pb2.RenderConversationResponse(text=text)
        if response.ByteSize() > self._limits.reply_bytes:
            raise too_large(self._limits.reply_bytes, "StreamMessages")
        return response

    async def _prompt(self, conversation_id: str, style: rules.RenderFormat, *, include_tools: bool) -> str:
        """Render the path to the head. Reads no further than a reply can be long."""
        lines: list[str] = []
        first: Message | None = None
        count = size = 0
        async with aclosing(self._store.messages(conversation_id)) as pages:
            async for page in pages:
                for message in page:
                    count += 1
                    first = message if count == 1 else None  # alone it is written otherwise; no other is kept
                    line = rules.prompt_line(message, style, include_tools=include_tools)
                    size += utf8_bytes(line)
                    if size > self._limits.reply_bytes and count > 1:
                        raise too_large(self._limits.reply_bytes, "StreamMessages")
                    if line:
                        lines.append(line)
        if first is not None:
            return rules.single_prompt([first], style, include_tools=include_tools)
        return "".join(lines)


def _responses(page: tuple[Message, ...], limit_bytes: int) -> list[conversation_pb2.StreamMessagesResponse]:
    """Fill as few responses as can be, none larger than the limit unless a single message is."""
    responses = [conversation_pb2.StreamMessagesResponse()]
    size = 0
    for message in map(message_proto, page):
        size += message.ByteSize() + 8
        if size > limit_bytes and responses[-1].messages:
            responses.append(conversation_pb2.StreamMessagesResponse())
            size = message.ByteSize() + 8
        responses[-1].messages.append(message)
    return responses if responses[-1].messages else []
