"""The chat calls of a client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from stepwire import _pictures, _requests, errors, replies
from stepwire._connection import Connection
from stepwire._requests import MessageLike, OptionsLike
from stepwire.v1 import chat_pb2

PAGE_SIZE = 1000


class ChatCalls:
    """Asks language models for replies."""

    _connection: Connection

    async def chat(
        self,
        prompt: str = "",
        *,
        messages: Iterable[MessageLike] = (),
        model: str = "",
        system: str = "",
        conversation_id: str = "",
        parent_id: str = "",
        if_revision: int | None = None,
        options: OptionsLike | None = None,
        timeout_s: float | None = None,
    ) -> replies.Reply:
        """Make one reply and return it whole.

            reply = await client.chat("Say hello.", options={"temperature": 0.2})
            print(reply, reply.finished.model)

        Args:
            prompt: The last message of the user.
            messages: The messages so far, oldest first: texts, JSON or `Message`.
            model: Name or alias of a model; empty for the server's default.
            system: What the model is told before everything else; never stored.
            conversation_id: Chat within this stored conversation: what is given here is appended to it, then the reply.
            parent_id: With a conversation, the message to continue from; empty for its head.
            if_revision: With a conversation, fail unless it has this revision.
            options: How to answer; what is not set is the provider's default.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `long_timeout_s`.

        Raises:
            errors.Error: The call failed; the subclass says what to do. It is not repeated by itself.
        """
        with _requests.checked():
            request = chat_pb2.ChatRequest(prompt=prompt, model=model, system=system, if_revision=if_revision)
            await self._fill(request, conversation_id, parent_id, messages, options, timeout_s)
        response = await self._connection.unary(self._connection.chat.Chat, request, timeout_s, is_long=True)
        return replies.Reply(response.text, replies.Finished.of(response.finished), response)

    async def stream_chat(
        self,
        prompt: str = "",
        *,
        messages: Iterable[MessageLike] = (),
        model: str = "",
        system: str = "",
        conversation_id: str = "",
        parent_id: str = "",
        if_revision: int | None = None,
        options: OptionsLike | None = None,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[replies.ChatEvent, None]:
        """Stream one reply: `Started`, then any `TextDelta` and `ReasoningDelta`, then exactly one `Finished`.

            async for event in client.stream_chat("Tell me a story."):
                print(event.text, end="", flush=True)

        Leaving the loop early cancels the call, and with it the model. Keep the generator under
        `contextlib.aclosing` if you hold on to it: Python closes it only when it is dropped.

        Args:
            prompt: The last message of the user.
            messages: The messages so far, oldest first: texts, JSON or `Message`.
            model: Name or alias of a model; empty for the server's default.
            system: What the model is told before everything else; never stored.
            conversation_id: Chat within this stored conversation: what is given here is appended to it, then the reply.
            parent_id: With a conversation, the message to continue from; empty for its head.
            if_revision: With a conversation, fail unless it has this revision.
            options: How to answer; what is not set is the provider's default.
            timeout_s: Seconds for the whole of it; None for no limit but the client's `idle_s` between two events.

        Raises:
            errors.Error: The call failed, perhaps after some events; the subclass says what to do.
        """
        with _requests.checked():
            request = chat_pb2.StreamChatRequest(prompt=prompt, model=model, system=system, if_revision=if_revision)
            await self._fill(request, conversation_id, parent_id, messages, options, timeout_s)
        event: replies.ChatEvent | None = None
        async with aclosing(self._connection.stream(self._connection.chat.StreamChat, request, timeout_s)) as responses:
            async for response in responses:
                if (event := replies.chat_event(response)) is not None:
                    yield event
        if not isinstance(event, replies.Finished):  # what there is may look whole, and is not
            raise errors.ServerError("the reply ended without its last event", code="INTERNAL")

    async def models(self, *, timeout_s: float | None = None) -> list[chat_pb2.Model]:
        """List the models that can chat, by name.

            for model in await client.models():
                print(model.name, list(model.aliases))

        Args:
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.Error: The call failed; the subclass says what to do.
        """
        found: list[chat_pb2.Model] = []
        request = chat_pb2.ListModelsRequest(page_size=PAGE_SIZE)
        while True:
            page = await self._connection.unary(self._connection.chat.ListModels, request, timeout_s)
            found.extend(page.models)
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def model(self, name: str = "", *, timeout_s: float | None = None) -> chat_pb2.Model:
        """Describe one model that can chat.

            print((await client.model("gpt-4")).provider_model)

        Args:
            name: Name or alias; empty for the server's default.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.NotFound: No model has this name.
        """
        with _requests.checked():
            request = chat_pb2.GetModelRequest(name=name)
        return (await self._connection.unary(self._connection.chat.GetModel, request, timeout_s)).model

    async def _fill(
        self,
        request: chat_pb2.ChatRequest | chat_pb2.StreamChatRequest,
        conversation_id: str,
        parent_id: str,
        messages: Iterable[MessageLike],
        options: OptionsLike | None,
        timeout_s: float | None,
    ) -> None:
        request.conversation_id, request.parent_id = conversation_id, parent_id
        request.messages.extend(await _pictures.fitted(self._connection, _requests.messages(messages), timeout_s))
        if (chosen := _requests.options(options)) is not None:
            request.options.CopyFrom(chosen)
