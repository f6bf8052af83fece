"""A conversation as an object, for programs without asyncio."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, TypeVar, Unpack

from stepwire import _pictures
from stepwire._arguments import MessageOptions
from stepwire._at_once import at_once
from stepwire._blocking import Client
from stepwire._conversation_aio import AsyncConversation, no_server
from stepwire._faces import iterates, waits
from stepwire._pictures import PictureLike

T = TypeVar("T")


class Conversation:
    """A tree of messages with a head, which the next message follows.

        conversation = Conversation()                # kept here, gone with the program
        conversation = Conversation(client)          # the same, and `chat` works
        conversation = Conversation(client, "c1")    # kept by the server, which has it already

    All three write the same texts and refuse the same things in the same words. Limits of size are the server's
    alone. The methods are those of `AsyncConversation`. One without a client is for one thread at a time.

    Args:
        client: Asks models, and keeps the conversation if `conversation_id` names one.
        conversation_id: A conversation of the server; `client.create_conversation` makes one.
    """

    def __init__(self, client: Client | None = None, conversation_id: str = "") -> None:
        self._client = client
        self._aio = AsyncConversation(client._aio if client else None, conversation_id)

    @property
    def id(self) -> str:
        """Its id at the server; empty if it is kept here."""
        return self._aio.id

    add_message = waits(AsyncConversation.add_message)
    add_tool_use = waits(AsyncConversation.add_tool_use)
    add_tool_result = waits(AsyncConversation.add_tool_result)
    get_messages = waits(AsyncConversation.get_messages)
    get_message_view = waits(AsyncConversation.get_message_view)
    get_single_prompt = waits(AsyncConversation.get_single_prompt)
    update_metadata = waits(AsyncConversation.update_metadata)
    chat = waits(AsyncConversation.chat)
    stream_chat = iterates(AsyncConversation.stream_chat)

    def add_message_with_image(
        self, role: str, text: str, image: PictureLike, *, detail: str = "", **options: Unpack[MessageOptions]
    ) -> str:
        picture = _pictures.image(image, detail=detail)  # here, where it stops nobody else
        return self._wait(lambda: self._aio.add_message_with_image(role, text, picture, **options))

    add_message_with_image.__doc__ = AsyncConversation.add_message_with_image.__doc__

    def _wait(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        # In the loop of the client, or else at once: what is kept here waits for nothing.
        return at_once(make()) if self._client is None else self._client._wait(make)

    def _iterate(self, stream: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        if self._client is None:
            raise no_server()
        return self._client._iterate(stream)
