"""The calls of ConversationService on messages: appended, streamed, read, changed, written as text, found."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from stepwire.v1 import conversation_pb2
from stepwired import conversation as rules
from stepwired.events import Message
from stepwired.limits import KIB
from stepwired.rpc import paging
from stepwired.rpc.convert import conversations as convert
from stepwired.rpc.convert import message_calls as calls
from stepwired.rpc.convert.messages import message_proto
from stepwired.rpc.convert.values import too_large
from stepwired.rpc.kept import Context, Kept, read, repeatable

#: What a message takes on the wire beside its pictures, at most about.
_MARGIN_BYTES = 64 * KIB


class MessageCalls(Kept):
    """Calls on messages."""

    async def AppendMessages(
        self, request: conversation_pb2.AppendMessagesRequest, _: Context
    ) -> conversation_pb2.AppendMessagesResponse:
        messages = await read(convert.appended, request, self._limits)
        changed, ids = await self._store.append(
            request.conversation_id,
            await self._pictures.taken(messages),
            keep_head=request.keep_head,
            allow_orphan=request.allow_orphan,
            if_revision=convert.if_revision(request),
            request=await repeatable(request),
        )
        return conversation_pb2.AppendMessagesResponse(
            conversation=convert.conversation_proto(changed), message_ids=ids
        )

    async def StreamMessages(
        self, request: conversation_pb2.StreamMessagesRequest, _: Context
    ) -> AsyncGenerator[conversation_pb2.StreamMessagesResponse, None]:
        view = calls.view(request)
        pages = self._store.messages(request.conversation_id, view, request.message_id)
        limit_bytes = self._limits.stream_message_bytes
        async with aclosing(pages):
            async for page in pages:
                response = conversation_pb2.StreamMessagesResponse()
                size = 0
                for shown in page:
                    message = message_proto(await self._with_bytes(shown) if request.image_bytes else shown)
                    size += message.ByteSize() + 8
                    if size > limit_bytes and response.messages:
                        yield response
                        response = conversation_pb2.StreamMessagesResponse()
                        size = message.ByteSize() + 8
                    response.messages.append(message)
                if response.messages:
                    yield response

    async def GetMessage(
        self, request: conversation_pb2.GetMessageRequest, _: Context
    ) -> conversation_pb2.GetMessageResponse:
        calls.message_named(request)
        message = await self._store.message(request.conversation_id, request.message_id)
        if request.image_bytes:
            message = await self._with_bytes(message)
        return conversation_pb2.GetMessageResponse(message=message_proto(message))

    async def UpdateMessage(
        self, request: conversation_pb2.UpdateMessageRequest, _: Context
    ) -> conversation_pb2.UpdateMessageResponse:
        asked = calls.message_update(request, self._limits)
        message, revision = await self._store.update_message(
            request.conversation_id,
            request.message_id,
            metadata=asked.metadata,
            merge=asked.merge,
            status=asked.status,
            if_revision=convert.if_revision(request),
        )
        return conversation_pb2.UpdateMessageResponse(message=message_proto(message), revision=revision)

    async def SearchMessages(
        self, request: conversation_pb2.SearchMessagesRequest, _: Context
    ) -> conversation_pb2.SearchMessagesResponse:
        asked = calls.message_search(request)
        hits, end = await self._store.search(
            request.query, conversation_id=request.conversation_id, page_size=asked.page_size, after=asked.after
        )
        return conversation_pb2.SearchMessagesResponse(
            hits=map(calls.hit_proto, hits), next_page_token=paging.token(asked.call, end) if end else ""
        )

    async def RenderConversation(
        self, request: conversation_pb2.RenderConversationRequest, _: Context
    ) -> conversation_pb2.RenderConversationResponse:
        style = calls.render_format(request)
        if request.message_id:
            message = await self._store.message(request.conversation_id, request.message_id)
            text = rules.view(message, style)
        else:
            text = await self._prompt(request.conversation_id, style, include_tools=request.include_tools)
        response = conversation_pb2.RenderConversationResponse(text=text)
        if response.ByteSize() > self._limits.reply_bytes:
            raise too_large(self._limits.reply_bytes, "StreamMessages")
        return response

    async def _with_bytes(self, message: Message) -> Message:
        """Load the pictures of a message, as many as a client takes with it."""
        if not message.images:
            return message
        rest = message_proto(message).ByteSize()
        return await self._pictures.with_bytes(message, self._limits.reply_bytes - rest - _MARGIN_BYTES)

    async def _prompt(self, conversation_id: str, style: rules.RenderFormat, *, include_tools: bool) -> str:
        """Render the path to the head. Reads no further than a reply can be long."""
        messages: list[Message] = []
        characters = 0
        async with aclosing(self._store.messages(conversation_id)) as pages:
            async for page in pages:
                for message in page:
                    messages.append(message)
                    characters += len(message.text)
                if characters > self._limits.reply_bytes:
                    raise too_large(self._limits.reply_bytes, "StreamMessages")
        return rules.single_prompt(messages, style, include_tools=include_tools)
