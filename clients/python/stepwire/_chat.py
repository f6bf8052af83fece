"""The chat calls of a client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from stepwire import _asking, _requests, errors, replies
from stepwire._asking import FormatLike
from stepwire._connection import Metadata
from stepwire._converse import AsyncTalk, with_functions
from stepwire._models import ModelCalls
from stepwire._requests import MessageLike, OptionsLike
from stepwire._tools import ToolLike, Tools
from stepwire.v1 import chat_pb2


class ChatCalls(ModelCalls):
    """Asks language models for replies."""

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
        tools: Iterable[ToolLike] = (),
        response_format: FormatLike | None = None,
        request_id: str = "",
        provider_key: str = "",
        max_tool_turns: int = 8,
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
            tools: What the model may ask for: functions of this program, which are called and answered for; names of
                steps of the server; or JSON as of `Tool`, which the caller answers in a further call.
            response_format: What the reply has to look like: a JSON Schema, a type that stands for one, or `"json"`.
            request_id: Makes the call safe to repeat: the same id and request get the same reply within 24 hours.
            provider_key: Your own key for the provider, where the server asks for its callers' keys.
            max_tool_turns: How often functions are called for; then the reply ends as it is, with reason `tool_use`.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `long_timeout_s`.

        Raises:
            errors.Error: The call failed; the subclass says what to do. It is not repeated by itself.
            TypeError: A function takes what JSON cannot say.
        """
        offered = Tools.of(tools)
        with _requests.checked():
            request = await _asking.fill(
                self._connection,
                chat_pb2.ChatRequest(
                    prompt=prompt,
                    model=model,
                    system=system,
                    conversation_id=conversation_id,
                    parent_id=parent_id,
                    if_revision=if_revision,
                    request_id=request_id,
                ),
                messages=messages,
                options=options,
                tools=offered,
                response_format=response_format,
                timeout_s=timeout_s,
            )
        metadata = _asking.metadata(provider_key)
        if offered.functions:
            limit_s = self._connection.long_timeout_s if timeout_s is None else timeout_s
            return await _collected(self._with_functions(request, offered, max_tool_turns, limit_s, metadata))
        call = self._connection.chat.Chat
        response = await self._connection.unary(call, request, timeout_s, is_long=True, metadata=metadata)
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
        tools: Iterable[ToolLike] = (),
        response_format: FormatLike | None = None,
        request_id: str = "",
        provider_key: str = "",
        max_tool_turns: int = 8,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[replies.ChatEvent, None]:
        """Stream one reply: `Started`, then any pieces of text, thoughts and tool calls, then exactly one `Finished`.

            async for event in client.stream_chat("Tell me a story."):
                print(event.text, end="", flush=True)

        Leaving the loop early cancels the call, and with it the model. Keep the generator under
        `contextlib.aclosing` if you hold on to it: Python closes it only when it is dropped. With functions as tools
        there is a `Started` for each turn.

        Args:
            prompt: The last message of the user.
            messages: The messages so far, oldest first: texts, JSON or `Message`.
            model: Name or alias of a model; empty for the server's default.
            system: What the model is told before everything else; never stored.
            conversation_id: Chat within this stored conversation: what is given here is appended to it, then the reply.
            parent_id: With a conversation, the message to continue from; empty for its head.
            if_revision: With a conversation, fail unless it has this revision.
            options: How to answer; what is not set is the provider's default.
            tools: What the model may ask for: functions of this program, which are called and answered for; names of
                steps of the server; or JSON as of `Tool`, which the caller answers in a further call.
            response_format: What the reply has to look like: a JSON Schema, a type that stands for one, or `"json"`.
            request_id: Makes the call safe to repeat: the same id and request get the same reply within 24 hours.
            provider_key: Your own key for the provider, where the server asks for its callers' keys.
            max_tool_turns: How often functions are called for; then the reply ends as it is, with reason `tool_use`.
            timeout_s: Seconds for the whole of it; None for no limit but the client's `idle_s` between two events.

        Raises:
            errors.Error: The call failed, perhaps after some events; the subclass says what to do.
            TypeError: A function takes what JSON cannot say.
        """
        offered = Tools.of(tools)
        with _requests.checked():
            request = await _asking.fill(
                self._connection,
                chat_pb2.StreamChatRequest(
                    prompt=prompt,
                    model=model,
                    system=system,
                    conversation_id=conversation_id,
                    parent_id=parent_id,
                    if_revision=if_revision,
                    request_id=request_id,
                ),
                messages=messages,
                options=options,
                tools=offered,
                response_format=response_format,
                timeout_s=timeout_s,
            )
        event: replies.ChatEvent | None = None
        async with aclosing(self._events(request, offered, max_tool_turns, timeout_s, provider_key)) as events:
            async for event in events:
                yield event
        if not isinstance(event, replies.Finished):  # what there is may look whole, and is not
            raise errors.ServerError("the reply ended without its last event", code="INTERNAL")

    def converse(
        self,
        *,
        model: str = "",
        system: str = "",
        conversation_id: str = "",
        parent_id: str = "",
        if_revision: int | None = None,
        options: OptionsLike | None = None,
        tools: Iterable[ToolLike] = (),
        response_format: FormatLike | None = None,
        provider_key: str = "",
        timeout_s: float | None = None,
    ) -> AsyncTalk:
        """Begin a talk: turn by turn on one call, and you answer the model's tool calls.

            async with client.converse(system="Be brief.") as talk:
                await talk.send("Say hello.")
                async for event in talk.receive():
                    print(event.text, end="")

        Args:
            model: Name or alias of a model; empty for the server's default.
            system: What the model is told before everything else; never stored.
            conversation_id: Talk within this stored conversation, to which all is appended as it is said.
            parent_id: With a conversation, the message to continue from; empty for its head.
            if_revision: With a conversation, fail unless it has this revision.
            options: How to answer; what is not set is the provider's default.
            tools: What the model may ask for. You answer also for functions, which only describe themselves here.
            response_format: What each reply has to look like.
            provider_key: Your own key for the provider, where the server asks for its callers' keys.
            timeout_s: Seconds for the whole of it; None for no limit.

        Raises:
            errors.InvalidRequest: No request can be made of this.
            TypeError: A function takes what JSON cannot say.
        """
        with _requests.checked():
            first = chat_pb2.StreamChatRequest(
                model=model,
                system=system,
                conversation_id=conversation_id,
                parent_id=parent_id,
                if_revision=if_revision,
            )
            _asking.set_options(first, options, Tools.of(tools), response_format)
        return AsyncTalk(self._connection, first, timeout_s, _asking.metadata(provider_key))

    async def _events(
        self,
        request: chat_pb2.StreamChatRequest,
        tools: Tools,
        max_tool_turns: int,
        timeout_s: float | None,
        provider_key: str,
    ) -> AsyncGenerator[replies.ChatEvent, None]:
        metadata = _asking.metadata(provider_key)
        if tools.functions:
            async with aclosing(self._with_functions(request, tools, max_tool_turns, timeout_s, metadata)) as events:
                async for event in events:
                    yield event
            return
        call = self._connection.stream(self._connection.chat.StreamChat, request, timeout_s, metadata=metadata)
        async with aclosing(call) as responses:
            async for response in responses:
                if (read := replies.chat_event(response)) is not None:
                    yield read

    def _with_functions(
        self,
        request: chat_pb2.ChatRequest | chat_pb2.StreamChatRequest,
        tools: Tools,
        max_tool_turns: int,
        timeout_s: float | None,
        metadata: Metadata,
    ) -> AsyncGenerator[replies.ChatEvent, None]:
        if request.request_id:
            why = "request_id: is not for a chat whose tools are functions: it may take many turns"
            raise errors.InvalidRequest(why, code="INVALID_ARGUMENT", reason="FIELD_INVALID")
        # Both have the same fields.
        first = chat_pb2.StreamChatRequest.FromString(request.SerializeToString())
        talk = AsyncTalk(self._connection, first, timeout_s, metadata)
        return with_functions(talk, tools, request.prompt, max_tool_turns)


async def _collected(events: AsyncGenerator[replies.ChatEvent, None]) -> replies.Reply:
    """A whole reply, of its events."""
    text = ""
    is_cached = False
    async with aclosing(events):
        async for event in events:
            text = "" if isinstance(event, replies.Restarted) else text + event.text
            if isinstance(event, replies.Started):
                is_cached = event.is_cached
            if isinstance(event, replies.Finished):
                whole = chat_pb2.ChatResponse(text=text, finished=event.proto, cached=is_cached)
                return replies.Reply(text, event, whole)
    raise errors.ServerError("the reply ended without its last event", code="INTERNAL")
