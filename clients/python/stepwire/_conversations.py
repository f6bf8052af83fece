"""The conversation calls of a client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any, Literal

from stepwire import _requests, _values, results
from stepwire._connection import Connection
from stepwire._requests import MessageLike
from stepwire.v1 import conversation_pb2, message_pb2

_VIEWS = {
    "head_path": conversation_pb2.MESSAGE_VIEW_HEAD_PATH,
    "path_to": conversation_pb2.MESSAGE_VIEW_PATH_TO,
    "leftmost": conversation_pb2.MESSAGE_VIEW_LEFTMOST,
    "all": conversation_pb2.MESSAGE_VIEW_ALL,
}

_FORMATS = {
    "brackets": conversation_pb2.RENDER_FORMAT_BRACKETS,
    "geppetto": conversation_pb2.RENDER_FORMAT_GEPPETTO,
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
        timeout_s: float | None = None,
    ) -> results.Stored:
        """Create a conversation, with its first messages if any are given.

            created = await client.create_conversation(title="cats", messages=["What is a kitten?"])
            print(created.id)

        Args:
            title: What people call it.
            messages: Its first messages, oldest first: texts, JSON or `Message`.
            conversation_id: 1 to 128 of `A-Z a-z 0-9 . _ : -`; empty for a new UUID.
            metadata: Anything JSON that you want to keep with it, at most 64 KiB.
            allow_orphan: Accept tool results without a tool use before them.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.Conflict: Another conversation has this id.
        """
        with _requests.checked():
            request = conversation_pb2.CreateConversationRequest(
                conversation_id=conversation_id,
                title=title,
                metadata=None if metadata is None else _values.to_struct(metadata),
                messages=_requests.messages(messages),
                allow_orphan=allow_orphan,
            )
        response = await self._connection.unary(self._connection.conversations.CreateConversation, request, timeout_s)
        return results.Stored(response.conversation, list(response.message_ids))

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

    async def append(
        self,
        conversation_id: str,
        messages: Iterable[MessageLike],
        *,
        keep_head: bool = False,
        allow_orphan: bool = False,
        timeout_s: float | None = None,
    ) -> results.Stored:
        """Append messages to a conversation, all or none, each after the one before it.

            await client.append("c1", ["And now?", {"role": "assistant", "text": "Now it sleeps."}])

        Not repeated by itself when the answer is lost: `messages` tells whether it happened.

        Args:
            conversation_id: The conversation.
            messages: 1 to 1,000, oldest first: texts, JSON or `Message`. One without `parent_id` follows the one
                before it; the first, the head.
            keep_head: Leave the head where it is, instead of moving it to the last message.
            allow_orphan: Accept tool results without a tool use before them.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.NotFound: No conversation, or no parent, has this id.
            errors.InvalidRequest: A message is wrong; `violations` says where.
        """
        with _requests.checked():
            request = conversation_pb2.AppendMessagesRequest(
                conversation_id=conversation_id,
                messages=_requests.messages(messages),
                keep_head=keep_head,
                allow_orphan=allow_orphan,
            )
        response = await self._connection.unary(self._connection.conversations.AppendMessages, request, timeout_s)
        return results.Stored(response.conversation, list(response.message_ids))

    async def messages(
        self,
        conversation_id: str,
        *,
        view: Literal["head_path", "path_to", "leftmost", "all"] = "head_path",
        message_id: str = "",
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
            timeout_s: Seconds for the whole of it; None for no limit but the client's `idle_s` between two messages.

        Raises:
            errors.NotFound: No conversation, or no message, has this id.
        """
        with _requests.checked():
            request = conversation_pb2.StreamMessagesRequest(
                conversation_id=conversation_id, view=_VIEWS[view], message_id=message_id
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
                format=_FORMATS[style],
                include_tools=include_tools,
            )
        response = await self._connection.unary(self._connection.conversations.RenderConversation, request, timeout_s)
        return response.text
