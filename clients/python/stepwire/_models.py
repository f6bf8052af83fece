"""The calls of a client that are about models, and ask none for a reply."""

from __future__ import annotations

from collections.abc import Iterable

from stepwire import _asking, _requests, replies
from stepwire._asking import FormatLike
from stepwire._connection import Connection
from stepwire._requests import MessageLike, OptionsLike
from stepwire._tools import ToolLike, Tools
from stepwire.v1 import chat_pb2

PAGE_SIZE = 1000


class ModelCalls:
    """Says what there is, and counts."""

    _connection: Connection

    async def count_tokens(
        self,
        prompt: str = "",
        *,
        messages: Iterable[MessageLike] = (),
        model: str = "",
        system: str = "",
        conversation_id: str = "",
        parent_id: str = "",
        options: OptionsLike | None = None,
        tools: Iterable[ToolLike] = (),
        response_format: FormatLike | None = None,
        provider_key: str = "",
        timeout_s: float | None = None,
    ) -> replies.TokenCount:
        """Count the tokens that a model would read, without asking it for a reply.

            count = await client.count_tokens("How long is this?")
            print(count.input_tokens, count.is_estimated)

        Args:
            prompt: The last message of the user.
            messages: The messages so far, oldest first: texts, JSON or `Message`.
            model: Name or alias of a model; empty for the server's default.
            system: What the model is told before everything else.
            conversation_id: Count what would be sent within this stored conversation. Nothing is stored.
            parent_id: With a conversation, the message to continue from; empty for its head.
            options: How the model would be asked to answer.
            tools: What it might ask for, which counts too.
            response_format: What the reply would have to look like, which counts too.
            provider_key: Your own key for the provider, where the server asks for its callers' keys.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.Error: The call failed; the subclass says what to do.
        """
        offered = Tools.of(tools)
        with _requests.checked():
            request = await _asking.fill(
                self._connection,
                chat_pb2.CountTokensRequest(
                    prompt=prompt,
                    model=model,
                    system=system,
                    conversation_id=conversation_id,
                    parent_id=parent_id,
                ),
                messages=messages,
                options=options,
                tools=offered,
                response_format=response_format,
                timeout_s=timeout_s,
            )
        call, metadata = self._connection.chat.CountTokens, _asking.metadata(provider_key)
        return replies.TokenCount.of(await self._connection.unary(call, request, timeout_s, metadata=metadata))

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
