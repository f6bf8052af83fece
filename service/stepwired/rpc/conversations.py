"""Serves `stepwire.v1.ConversationService`: the calls on whole conversations, and all others from their modules."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from stepwire.v1 import conversation_pb2, conversation_pb2_grpc
from stepwired.conversation import Conversation
from stepwired.limits import KIB
from stepwired.rpc import aside, paging
from stepwired.rpc.convert import conversations as convert
from stepwired.rpc.files import FileCalls
from stepwired.rpc.kept import Context, Kept, repeatable
from stepwired.rpc.messages import MessageCalls
from stepwired.rpc.watch import WatchCalls


class ConversationCalls(Kept):
    """Calls on whole conversations."""

    async def CreateConversation(
        self, request: conversation_pb2.CreateConversationRequest, _: Context
    ) -> conversation_pb2.CreateConversationResponse:
        asked = await aside.read(convert.creation, request, self._limits)
        once = await repeatable(request)
        answer = await self._answered("create", once, asked.messages)
        created, ids = answer or await self._store.create(
            asked.conversation_id,
            title=asked.title,
            metadata=asked.metadata,
            messages=await self._pictures.taken(asked.messages),
            allow_orphan=asked.allow_orphan,
            request=once,
        )
        return conversation_pb2.CreateConversationResponse(
            conversation=convert.conversation_proto(created), message_ids=ids
        )

    async def GetConversation(
        self, request: conversation_pb2.GetConversationRequest, _: Context
    ) -> conversation_pb2.GetConversationResponse:
        found = await self._store.get(convert.conversation_id(request.conversation_id))
        return conversation_pb2.GetConversationResponse(conversation=convert.conversation_proto(found))

    async def ListConversations(
        self, request: conversation_pb2.ListConversationsRequest, _: Context
    ) -> conversation_pb2.ListConversationsResponse:
        asked = convert.listing(request, self._limits)
        found, end = await self._store.list(
            page_size=asked.page_size,
            page_bytes=self._limits.reply_bytes - KIB - 8 * asked.page_size,  # for the token, and for each one's frame
            after=asked.after,
            labels=asked.labels,
            create_from_ns=asked.create_from_ns,
            create_before_ns=asked.create_before_ns,
            update_from_ns=asked.update_from_ns,
            order=asked.order,
        )
        token = paging.token(asked.call, end) if end else ""
        return await aside.write(partial(_listed, token=token), found, [each.metadata for each in found])

    async def UpdateConversation(
        self, request: conversation_pb2.UpdateConversationRequest, _: Context
    ) -> conversation_pb2.UpdateConversationResponse:
        asked = convert.update(request, self._limits)
        changed = await self._store.update(
            request.conversation.id,
            title=asked.title,
            metadata=asked.metadata,
            merge=asked.merge,
            head_id=asked.head_id,
            if_revision=convert.if_revision(request),
        )
        return conversation_pb2.UpdateConversationResponse(conversation=convert.conversation_proto(changed))

    async def DeleteConversation(
        self, request: conversation_pb2.DeleteConversationRequest, _: Context
    ) -> conversation_pb2.DeleteConversationResponse:
        conversation_id = convert.conversation_id(request.conversation_id)
        await self._store.delete(conversation_id, if_revision=convert.if_revision(request))
        return conversation_pb2.DeleteConversationResponse()

    async def ForkConversation(
        self, request: conversation_pb2.ForkConversationRequest, _: Context
    ) -> conversation_pb2.ForkConversationResponse:
        title = convert.fork(request)
        made = await self._store.fork(
            request.conversation_id,
            request.message_id,
            new_id=request.new_conversation_id,
            title=title,
            request=await repeatable(request),
        )
        return conversation_pb2.ForkConversationResponse(conversation=convert.conversation_proto(made))


class ConversationServicer(
    ConversationCalls,
    MessageCalls,
    FileCalls,
    WatchCalls,
    conversation_pb2_grpc.ConversationServiceServicer,
):
    """Durable trees of messages: every call."""


def _listed(found: Sequence[Conversation], token: str) -> conversation_pb2.ListConversationsResponse:
    return conversation_pb2.ListConversationsResponse(
        conversations=map(convert.conversation_proto, found), next_page_token=token
    )
