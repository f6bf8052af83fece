"""The calls of a client about the messages of conversations."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any, Literal

from stepwire import _pictures, _requests, _values, stored
from stepwire._connection import Connection
from stepwire._requests import VIEWS, MessageLike, View
from stepwire.v1 import conversation_pb2, message_pb2

_FORMATS = {
    "brackets": conversation_pb2.RENDER_FORMAT_BRACKETS,
    "geppetto": conversation_pb2.RENDER_FORMAT_GEPPETTO,
}

_STATUSES = {
    None: message_pb2.MESSAGE_STATUS_UNSPECIFIED,
    "complete": message_pb2.MESSAGE_STATUS_COMPLETE,
    "interrupted": message_pb2.MESSAGE_STATUS_INTERRUPTED,
}


class MessageCalls:
    """Fills conversations, and reads what is in them."""

    _connection: Connection

    async def append(
        self,
        conversation_id: str,
        messages: Iterable[MessageLike],
        *,
        keep_head: bool = False,
        allow_orphan: bool = False,
        if_revision: int | None = None,
        request_id: str = "",
        timeout_s: float | None = None,
    ) -> stored.Stored:
        """Append messages to a conversation, all or none, each after the one before it.

            await client.append("c1", ["And now?", {"role": "assistant", "text": "Now it sleeps."}])

        Args:
            conversation_id: The conversation.
            messages: 1 to 1,000, oldest first: texts, JSON or `Message`. One without `parent_id` follows the one
                before it; the first, the head.
            keep_head: Leave the head where it is, instead of moving it to the last message.
            allow_orphan: Accept tool results without a tool use before them.
            if_revision: Fail unless the conversation has this revision.
            request_id: Makes a repeat of yours safe: the same id with the same request returns the first answer for 24
                hours. Empty for a new UUID, with which the call is repeated by itself while the server is unavailable.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.NotFound: No conversation, or no parent, has this id.
            errors.InvalidRequest: A message is wrong; `violations` says where.
            errors.Conflict: REVISION_MISMATCH: it has changed since `if_revision`.
        """
        with _requests.checked():
            request = conversation_pb2.AppendMessagesRequest(
                conversation_id=conversation_id,
                messages=await _pictures.fitted(self._connection, _requests.messages(messages), timeout_s),
                keep_head=keep_head,
                allow_orphan=allow_orphan,
                if_revision=if_revision,
                request_id=request_id or str(uuid.uuid4()),
            )
        response = await self._connection.unary(self._connection.conversations.AppendMessages, request, timeout_s)
        return stored.Stored(response.conversation, list(response.message_ids))

    async def messages(
        self,
        conversation_id: str,
        *,
        view: View = "head_path",
        message_id: str = "",
        image_bytes: bool = False,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[message_pb2.Message, None]:
        """Stream messages of a conversation as it is now, parents before children.

            async for message in client.messages("c1"):
                print(message.role, message.text)

        Args:
            conversation_id: The conversation.
            view: Which: the path to the head (what a model is sent), the path to `message_id`, the path along each
                oldest child, or all in the order they were appended.
            message_id: The end of the path, with `path_to`.
            image_bytes: Send the bytes of stored pictures; by default only their `blob_id`.
            timeout_s: Seconds for the whole of it; None for no limit but the client's `idle_s` between two messages.

        Raises:
            errors.NotFound: No conversation, or no message, has this id.
        """
        with _requests.checked():
            request = conversation_pb2.StreamMessagesRequest(
                conversation_id=conversation_id,
                view=_requests.choice("view", view, VIEWS),
                message_id=message_id,
                image_bytes=image_bytes,
            )
        async with aclosing(
            self._connection.stream(self._connection.conversations.StreamMessages, request, timeout_s)
        ) as responses:
            async for response in responses:
                for message in response.messages:
                    yield message

    async def render(
        self,
        conversation_id: str,
        *,
        message_id: str = "",
        style: Literal["brackets", "geppetto"] = "brackets",
        include_tools: bool = False,
        timeout_s: float | None = None,
    ) -> str:
        """Write one message, or the path to the head as a single prompt, as text.

            print(await client.render("c1"))  # [user]: What is a kitten?

        Args:
            conversation_id: The conversation.
            message_id: Only this message; empty for the single prompt.
            style: `[role]: text`, or `(role): text`.
            include_tools: In a prompt, also write tool uses and tool results.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.NotFound: No conversation, or no message, has this id.
        """
        with _requests.checked():
            request = conversation_pb2.RenderConversationRequest(
                conversation_id=conversation_id,
                message_id=message_id,
                format=_requests.choice("style", style, _FORMATS),
                include_tools=include_tools,
            )
        response = await self._connection.unary(self._connection.conversations.RenderConversation, request, timeout_s)
        return response.text

    async def get_message(
        self, conversation_id: str, message_id: str, *, image_bytes: bool = False, timeout_s: float | None = None
    ) -> message_pb2.Message:
        """Return one message.

            print((await client.get_message("c1", "m1")).text)

        Args:
            conversation_id: The conversation.
            message_id: The message.
            image_bytes: Send the bytes of stored pictures; by default only their `blob_id`.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.NotFound: No conversation, or no message, has this id.
        """
        with _requests.checked():
            request = conversation_pb2.GetMessageRequest(
                conversation_id=conversation_id, message_id=message_id, image_bytes=image_bytes
            )
        response = await self._connection.unary(self._connection.conversations.GetMessage, request, timeout_s)
        return response.message

    async def update_message(
        self,
        conversation_id: str,
        message_id: str,
        *,
        metadata: dict[str, Any] | None = None,
        merge: bool = False,
        status: Literal["complete", "interrupted"] | None = None,
        if_revision: int | None = None,
        timeout_s: float | None = None,
    ) -> stored.UpdatedMessage:
        """Change a message's metadata or status; what is None stays as it is. Content never changes.

            await client.update_message("c1", "m1", metadata={"hidden": True}, merge=True)  # from models

        Not repeated by itself when the answer is lost.

        Args:
            conversation_id: The conversation.
            message_id: The message.
            metadata: The new metadata.
            merge: Set the keys of `metadata` and remove those whose value is None, instead of replacing all.
            status: Whether it is whole.
            if_revision: Fail unless the conversation has this revision.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.NotFound: No conversation, or no message, has this id.
            errors.Conflict: REVISION_MISMATCH: the conversation has changed since `if_revision`.
        """
        with _requests.checked():
            request = conversation_pb2.UpdateMessageRequest(
                conversation_id=conversation_id,
                message_id=message_id,
                metadata=None if metadata is None else _values.to_struct(metadata),
                metadata_update=_requests.metadata_update(merge),
                status=_requests.choice("status", status, _STATUSES),
                if_revision=if_revision,
            )
        response = await self._connection.unary(self._connection.conversations.UpdateMessage, request, timeout_s)
        return stored.UpdatedMessage(response.message, response.revision)

    async def search_messages(
        self, query: str, *, conversation_id: str = "", page_size: int = 20, timeout_s: float | None = None
    ) -> AsyncGenerator[stored.MessageHit, None]:
        """Find messages by their words, best match first.

            async for hit in client.search_messages('kitten "two words" sleep* -dog'):
                print(hit.conversation_title, hit.snippet)

        Args:
            query: Words that all have to occur, in any order and case. `"two words"` is a phrase, `word*` a beginning,
                `-word` must not occur.
            conversation_id: Only in this conversation; empty for all.
            page_size: How many to ask for at a time, 1 to 100. You get them all, unless you leave early.
            timeout_s: Seconds until a page fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.InvalidRequest: INVALID_FILTER: the query cannot be read.
            errors.NotFound: No conversation has this id.
        """
        with _requests.checked():
            request = conversation_pb2.SearchMessagesRequest(
                query=query, conversation_id=conversation_id, page_size=page_size
            )
        while True:
            page = await self._connection.unary(self._connection.conversations.SearchMessages, request, timeout_s)
            for hit in page.hits:
                yield stored.MessageHit.of(hit)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
