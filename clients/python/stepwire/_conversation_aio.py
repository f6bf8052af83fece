"""A conversation as an object, for asyncio: kept here, or by a server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Unpack

from stepwire import _apart, _arguments, _pictures, _requests, _rules, _texts, _values, errors, replies
from stepwire._aio import AsyncClient
from stepwire._arguments import ChatArguments, MessageOptions
from stepwire._pictures import PictureLike
from stepwire._requests import View
from stepwire._talk import Talk
from stepwire._texts import Style
from stepwire._tree import Tree
from stepwire.v1 import message_pb2


class AsyncConversation:
    """A tree of messages with a head, which the next message follows.

        conversation = AsyncConversation()                # kept here, gone with the program
        conversation = AsyncConversation(client)          # the same, and `chat` works
        conversation = AsyncConversation(client, "c1")    # kept by the server, which has it already

    All three write the same texts and refuse the same things in the same words. Limits of size are the server's alone.

    Args:
        client: Asks models, and keeps the conversation if `conversation_id` names one.
        conversation_id: A conversation of the server; `client.create_conversation` makes one.
    """

    def __init__(self, client: AsyncClient | None = None, conversation_id: str = "") -> None:
        if conversation_id and client is None:
            raise ValueError("a conversation of a server needs a client of that server")
        self.id = conversation_id
        self._client = client
        self._tree = Tree()

    async def add_message(self, role: str, text: str, **options: Unpack[MessageOptions]) -> str:
        """Append what somebody says; its id. The head moves to it.

        Raises:
            errors.InvalidRequest: The role, the id, the time or the metadata is wrong, or nothing is said.
            errors.NotFound: The parent does not exist.
            errors.Conflict: Another message has this id.
        """
        return await self._add(_arguments.message(options, role=role, text=text))

    async def add_message_with_image(
        self, role: str, text: str, image: PictureLike, *, detail: str = "", **options: Unpack[MessageOptions]
    ) -> str:
        """Append what somebody says and shows; its id.

        Args:
            role: Who speaks.
            text: What is said; may be empty.
            image: Path of a local file or its `file` URL, which is read here, an `http` or `https` URL, a `data`
                URL in base64, bytes, a file opened for reading bytes, or what `stepwire.image` made.
            detail: How closely the model should look: `auto`, `low` or `high`.
            options: As for `add_message`.

        Raises:
            OSError: The file cannot be read.
            errors.InvalidRequest: It has more than 20 MiB, or is no PNG, JPEG, WebP or GIF; or as `add_message`.
        """
        if isinstance(image, message_pb2.Image):
            picture = _pictures.image(image, detail=detail)
        else:
            picture = await _apart.run(lambda: _pictures.image(image, detail=detail))
        return await self._add(_arguments.message(options, role=role, text=text, images=[picture]))

    async def add_tool_use(
        self, tool_id: str, name: str, tool_input: dict[str, Any], **options: Unpack[MessageOptions]
    ) -> str:
        """Append a model's wish to have a tool called, with these arguments; its id.

        Raises:
            errors.Error: As `add_message`.
        """
        with _requests.checked():
            use = message_pb2.ToolUse(tool_id=tool_id, name=name, input=_values.to_struct(tool_input))
        return await self._add(_arguments.message(options, tool_use=use))

    async def add_tool_result(
        self,
        tool_id: str,
        result: str,
        *,
        is_error: bool = False,
        allow_orphan: bool = False,
        **options: Unpack[MessageOptions],
    ) -> str:
        """Append what a tool answered; its id.

        Args:
            tool_id: That of the use that this answers.
            result: The answer.
            is_error: Whether the tool failed, so that `result` says why.
            allow_orphan: Accept it without a use before it.
            options: As for `add_message`.

        Raises:
            errors.InvalidRequest: The tool was never used on the way to this message; or as `add_message`.
        """
        with _requests.checked():
            answer = message_pb2.ToolResult(tool_id=tool_id, result=result, is_error=is_error)
        return await self._add(_arguments.message(options, tool_result=answer), allow_orphan=allow_orphan)

    async def get_messages(self, view: View = "head_path", *, message_id: str = "") -> list[message_pb2.Message]:
        """List messages, parents before children. They are copies: changing them changes nothing here.

        Args:
            view: Which: the path to the head (what a model is sent), the path to `message_id`, the path along each
                oldest child, or all in the order they were added.
            message_id: The end of the path, with `path_to`.

        Raises:
            errors.NotFound: There is no such message.
        """
        if not self._stored:
            return self._tree.view(view, message_id)
        stored = self._stored.messages(self.id, view=view, message_id=message_id)
        async with aclosing(stored) as messages:
            return [message async for message in messages]

    async def get_message_view(self, message_id: str, *, style: Style = "brackets") -> str:
        """Write one message as text: `[role]: text`, `ToolUseContent{…}` or `ToolResultContent{…}`.

        Raises:
            errors.NotFound: There is no such message.
        """
        _rules.check_id("message_id", message_id, is_needed=True)  # else the server writes the whole prompt
        if self._stored:
            return await self._stored.render(self.id, message_id=message_id, style=style)
        _requests.choice("style", style, dict.fromkeys(_texts.STYLES))
        return _texts.view(self._tree.get(message_id), style)

    async def get_single_prompt(self, *, style: Style = "brackets", include_tools: bool = False) -> str:
        """Write the path to the head as one prompt: a line for each message, or the bare text of the only one.

        Args:
            style: `[role]: text`, or `(role): text`.
            include_tools: Also write tool uses and tool results.
        """
        if self._stored:
            return await self._stored.render(self.id, style=style, include_tools=include_tools)
        _requests.choice("style", style, dict.fromkeys(_texts.STYLES))
        return _texts.single_prompt(self._tree.path(self._tree.head_id), style, include_tools=include_tools)

    async def update_metadata(self, message_id: str, metadata: dict[str, Any], *, merge: bool = False) -> bool:
        """Replace a message's metadata. Returns False if there is no such message.

        Args:
            message_id: The message.
            metadata: The new metadata.
            merge: Set the keys of `metadata` and remove those whose value is None, instead of replacing all.

        Raises:
            errors.InvalidRequest: JSON cannot say it.
        """
        try:
            if self._stored:
                await self._stored.update_message(self.id, message_id, metadata=metadata, merge=merge)
            else:
                with _requests.checked():
                    self._tree.update_metadata(message_id, metadata, merge=merge)
        except errors.NotFound as error:
            if error.reason != "MESSAGE_NOT_FOUND":
                raise
            return False
        return True

    async def chat(self, prompt: str = "", **arguments: Unpack[ChatArguments]) -> replies.Reply:
        """Append the user's `prompt`, if there is one, and then the model's reply to all that was said.

        Two at once do not disturb each other: the second reply lies on a branch, and its `finished.branched` says so.

        Raises:
            errors.Error: The call failed; the prompt stays, unless the request itself was refused.
        """
        if self._stored:
            return await self._stored.chat(prompt, conversation_id=self.id, **arguments)
        client = self._chatter
        talk = Talk(self._tree, prompt, arguments.pop("parent_id", ""))
        with talk.asked():
            reply = await client.chat(messages=talk.messages, **arguments)
        return replace(reply, finished=talk.keep(reply.finished))

    async def stream_chat(
        self, prompt: str = "", **arguments: Unpack[ChatArguments]
    ) -> AsyncGenerator[replies.ChatEvent, None]:
        """Append the user's `prompt`, if there is one, and stream the model's reply, which is then appended too.

        Leaving early cancels the model; what had come of the reply is kept, with the status of an interrupted message.

        Raises:
            errors.Error: The call failed; the prompt stays, unless the request itself was refused.
        """
        if self._stored:
            stored = self._stored.stream_chat(prompt, conversation_id=self.id, **arguments)
            async with aclosing(stored) as events:
                async for event in events:
                    yield event
            return
        client = self._chatter
        talk = Talk(self._tree, prompt, arguments.pop("parent_id", ""))
        text = ""
        is_kept = False
        try:
            stream = talk.streamed(lambda: client.stream_chat(messages=talk.messages, **arguments))
            async with aclosing(stream) as events:
                async for event in events:
                    text = "" if isinstance(event, replies.Restarted) else text + event.text
                    if isinstance(event, replies.Finished):
                        event = talk.keep(event)  # noqa: PLW2901  the same, as it was kept
                        is_kept = True
                    yield event
        finally:
            if text and not is_kept:
                talk.keep_partial(text)

    @property
    def _stored(self) -> AsyncClient | None:
        return self._client if self.id else None

    @property
    def _chatter(self) -> AsyncClient:
        if self._client is None:
            raise no_server()
        return self._client

    async def _add(self, message: message_pb2.Message, *, allow_orphan: bool = False) -> str:
        if self._stored:
            return (await self._stored.append(self.id, [message], allow_orphan=allow_orphan)).message_ids[0]
        return self._tree.add(message, allow_orphan=allow_orphan)


def no_server() -> RuntimeError:
    """Make the error of a conversation that is to ask a model and has no client."""
    return RuntimeError("this conversation knows no server to ask: make it with a client")
