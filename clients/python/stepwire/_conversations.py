"""The calls of a client about whole conversations."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from google.protobuf.field_mask_pb2 import FieldMask

from stepwire import _pictures, _requests, _values, stored
from stepwire._connection import Connection
from stepwire._requests import MessageLike
from stepwire.v1 import conversation_pb2

_ORDERS = {
    "create_time": conversation_pb2.CONVERSATION_ORDER_CREATE_TIME,
    "update_time": conversation_pb2.CONVERSATION_ORDER_UPDATE_TIME,
}


class ConversationCalls:
    """Keeps conversations: durable trees of messages with a head, which the next message follows."""

    _connection: Connection

    async def create_conversation(
        self,
        *,
        title: str = "",
        messages: Iterable[MessageLike] = (),
        conversation_id: str = "",
        metadata: dict[str, Any] | None = None,
        allow_orphan: bool = False,
        request_id: str = "",
        timeout_s: float | None = None,
    ) -> stored.Stored:
        """Create a conversation, with its first messages if any are given.

            created = await client.create_conversation(title="cats", messages=["What is a kitten?"])
            print(created.id)

        Args:
            title: What people call it.
            messages: Its first messages, oldest first: texts, JSON or `Message`.
            conversation_id: 1 to 128 of `A-Z a-z 0-9 . _ : -`; empty for a new UUID.
            metadata: Anything JSON that you want to keep with it, at most 64 KiB.
            allow_orphan: Accept tool results without a tool use before them.
            request_id: Makes a repeat of yours safe: the same id with the same request returns the first answer for 24
                hours. Empty for a new UUID, with which the call is repeated by itself while the server is unavailable.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.Conflict: Another conversation has this id.
        """
        with _requests.checked():
            request = conversation_pb2.CreateConversationRequest(
                conversation_id=conversation_id,
                title=title,
                metadata=None if metadata is None else _values.to_struct(metadata),
                messages=await _pictures.fitted(self._connection, _requests.messages(messages), timeout_s),
                allow_orphan=allow_orphan,
                request_id=request_id or str(uuid.uuid4()),
            )
        response = await self._connection.unary(self._connection.conversations.CreateConversation, request, timeout_s)
        return stored.Stored(response.conversation, list(response.message_ids))

    async def conversation(
        self, conversation_id: str, *, timeout_s: float | None = None
    ) -> conversation_pb2.Conversation:
        """Describe a conversation, without its messages.

            print((await client.conversation("c1")).message_count)

        Args:
            conversation_id: Its id.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.NotFound: No conversation has this id.
        """
        with _requests.checked():
            request = conversation_pb2.GetConversationRequest(conversation_id=conversation_id)
        response = await self._connection.unary(self._connection.conversations.GetConversation, request, timeout_s)
        return response.conversation

    async def list_conversations(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        create_time_from: datetime | None = None,
        create_time_before: datetime | None = None,
        update_time_from: datetime | None = None,
        order: Literal["create_time", "update_time"] = "create_time",
        page_size: int = 100,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[conversation_pb2.Conversation, None]:
        """List conversations, newest first, without their messages. All that is given has to hold.

            async for conversation in client.list_conversations(labels={"team": "blue"}):
                print(conversation.id, conversation.title)

        Args:
            labels: Only those whose metadata has these texts under these keys.
            create_time_from: Only those created at this time or later. Times name their zone.
            create_time_before: Only those created before this time.
            update_time_from: Only those last changed at this time or later.
            order: What newest means. What changes while you read moves to the front in the order of `update_time`.
            page_size: How many to ask for at a time, 1 to 1000. You get them all, unless you leave early.
            timeout_s: Seconds until a page fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.Error: The call failed; the subclass says what to do.
        """
        with _requests.checked():
            request = conversation_pb2.ListConversationsRequest(
                page_size=page_size,
                labels=labels,
                create_time_from=_requests.timestamp(create_time_from),
                create_time_before=_requests.timestamp(create_time_before),
                update_time_from=_requests.timestamp(update_time_from),
                order=_requests.choice("order", order, _ORDERS),
            )
        while True:
            page = await self._connection.unary(self._connection.conversations.ListConversations, request, timeout_s)
            for conversation in page.conversations:
                yield conversation
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def update_conversation(
        self,
        conversation_id: str,
        *,
        title: str | None = None,
        metadata: dict[str, Any] | None = None,
        merge: bool = False,
        head_id: str | None = None,
        if_revision: int | None = None,
        timeout_s: float | None = None,
    ) -> conversation_pb2.Conversation:
        """Change title, metadata or head; what is None stays as it is.

            await client.update_conversation("c1", title="cats", metadata={"team": "blue"})

        Not repeated by itself when the answer is lost.

        Args:
            conversation_id: The conversation.
            title: What people call it.
            metadata: The new metadata.
            merge: Set the keys of `metadata` and remove those whose value is None, instead of replacing all.
            head_id: The message that the next one will follow.
            if_revision: Fail unless the conversation has this revision.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.NotFound: No conversation, or no message, has this id.
            errors.Conflict: REVISION_MISMATCH: it has changed since `if_revision`.
        """
        given = {"title": title, "metadata": metadata, "head_id": head_id}
        with _requests.checked():
            request = conversation_pb2.UpdateConversationRequest(
                conversation=conversation_pb2.Conversation(
                    id=conversation_id,
                    title=title,
                    metadata=None if metadata is None else _values.to_struct(metadata),
                    head_id=head_id,
                ),
                update_mask=FieldMask(paths=[name for name, value in given.items() if value is not None]),
                metadata_update=_requests.metadata_update(merge),
                if_revision=if_revision,
            )
        response = await self._connection.unary(self._connection.conversations.UpdateConversation, request, timeout_s)
        return response.conversation

    async def delete_conversation(
        self, conversation_id: str, *, if_revision: int | None = None, timeout_s: float | None = None
    ) -> None:
        """Delete a conversation with its messages.

            await client.delete_conversation("c1")

        Not repeated by itself when the answer is lost.

        Args:
            conversation_id: The conversation.
            if_revision: Fail unless it has this revision.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.NotFound: No conversation has this id.
            errors.Conflict: REVISION_MISMATCH: it has changed since `if_revision`.
        """
        with _requests.checked():
            request = conversation_pb2.DeleteConversationRequest(
                conversation_id=conversation_id, if_revision=if_revision
            )
        await self._connection.unary(self._connection.conversations.DeleteConversation, request, timeout_s)

    async def fork_conversation(
        self,
        conversation_id: str,
        *,
        message_id: str = "",
        new_conversation_id: str = "",
        title: str = "",
        request_id: str = "",
        timeout_s: float | None = None,
    ) -> conversation_pb2.Conversation:
        """Copy the path to a message into a new conversation. Messages keep their ids, content, metadata and times.

            print((await client.fork_conversation("c1", title="cats, again")).id)

        Args:
            conversation_id: The conversation to copy from.
            message_id: The end of the path; empty for the head.
            new_conversation_id: Id of the new one; empty for a new UUID.
            title: Title of the new one; empty for that of the old one.
            request_id: Makes a repeat of yours safe, as in `create_conversation`.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.NotFound: No conversation, or no message, has this id.
            errors.Conflict: Another conversation has the new id.
        """
        with _requests.checked():
            request = conversation_pb2.ForkConversationRequest(
                conversation_id=conversation_id,
                message_id=message_id,
                new_conversation_id=new_conversation_id,
                title=title,
                request_id=request_id or str(uuid.uuid4()),
            )
        response = await self._connection.unary(self._connection.conversations.ForkConversation, request, timeout_s)
        return response.conversation
