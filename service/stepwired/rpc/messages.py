"""The calls of ConversationService on messages: appended, streamed, read, changed, written as text, found."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from stepwire.v1 import conversation_pb2
from stepwired import conversation as rules
from stepwired.events import Message
from stepwired.limits import KIB
from stepwired.rpc import aside, paging
from stepwired.rpc.convert import conversations as convert
from stepwired.rpc.convert import message_calls as calls
from stepwired.rpc.convert.values import too_large
from stepwired.rpc.kept import Context, Kept, repeatable
from stepwired.store.codec.messages import message_proto
from stepwired.violations import utf8_bytes

#: What a message takes on the wire beside its pictures, at most about.
_MARGIN_BYTES = 64 * KIB


class MessageCalls(Kept):
    """Calls on messages."""

    async def AppendMessages(
        self, request: conversation_pb2.AppendMessagesRequest, _: Context
    ) -> conversation_pb2.AppendMessagesResponse:
        messages = await aside.read(convert.appended, request, self._limits)
        once = await repeatable(request)
        answer = await self._answered("append", once, messages)
        changed, ids = answer or await self._store.append(
            request.conversation_id,
            await self._pictures.taken(messages),
            keep_head=request.keep_head,
            allow_orphan=request.allow_orphan,
            if_revision=convert.if_revision(request),
            request=once,
        )
        return conversation_pb2.AppendMessagesResponse(
            conversation=convert.conversation_proto(changed), message_ids=ids
        )

    async def StreamMessages(
        self, request: conversation_pb2.StreamMessagesRequest, _: Context
    ) -> AsyncGenerator[conversation_pb2.StreamMessagesResponse, None]:
        view = calls.view(request)
        pages = self._store.messages(request.conversation_id, view, request.message_id)
        fill = partial(_responses, limit_bytes=self._limits.stream_message_bytes)
        async with aclosing(pages):
            async for page in pages:
                if not request.image_bytes:
                    for response in await aside.write(fill, page, page):
                        yield response
                    continue
                for shown in page:  # one at a time: each may take as much as a client reads
                    for response in fill((await self._with_bytes(shown),)):
                        yield response

    async def GetMessage(
        self, request: conversation_pb2.GetMessageRequest, _: Context
    ) -> conversation_pb2.GetMessageResponse:
        calls.message_named(request)
        message = await self._store.message(request.conversation_id, request.message_id)
        if request.image_bytes:
            message = await self._with_bytes(message)
        written = await aside.write(message_proto, message, message)
        return conversation_pb2.GetMessageResponse(message=written)

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
        written = await aside.write(message_proto, message, message)
        return conversation_pb2.UpdateMessageResponse(message=written, revision=revision)

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
        rest = (await aside.write(message_proto, message, message)).ByteSize()
        return await self._pictures.with_bytes(message, self._limits.reply_bytes - rest - _MARGIN_BYTES)

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
