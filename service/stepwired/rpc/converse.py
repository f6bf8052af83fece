"""One call of Converse: turn by turn, with the caller's answers to tool calls between."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from stepwire.v1 import chat_pb2, message_pb2
from stepwired.chat_checks import CHOICES
from stepwired.conversation import content_bytes, is_empty
from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.events import (
    Chat,
    ChatOptions,
    ChatRequest,
    Finished,
    FinishReason,
    Message,
    Role,
    TextDelta,
    ToolResult,
)
from stepwired.limits import Limits
from stepwired.rpc import aside
from stepwired.rpc.convert.chat import chat_request, turn
from stepwired.rpc.convert.images import inline_bytes
from stepwired.rpc.convert.messages import tool_result
from stepwired.rpc.convert.replies import ReplyWriter, shown
from stepwired.rpc.convert.values import not_unicode
from stepwired.rpc.stall import unsent
from stepwired.violations import Faults

_OWN_CHOICE = frozenset({"", *CHOICES}) - {"required"}


class Talk:
    """What one caller and a model say to each other.

    Args:
        chat: Makes replies.
        requests: What the caller sends. Nothing is read while the model has its turn.
        limits: Of texts and replies, and of all that is remembered.
        caller_key: The provider key that the caller brought. A secret.
    """

    def __init__(
        self, chat: Chat, requests: AsyncIterator[chat_pb2.ConverseRequest], limits: Limits, caller_key: str
    ) -> None:
        self._chat = chat
        self._requests = requests
        self._limits = limits
        self._caller_key = caller_key
        self._options = ChatOptions()
        """As the caller said last."""

        self._last: ChatRequest | None = None
        """The turn before."""

        self._finished: Finished | None = None
        """How it ended."""

    async def responses(self) -> AsyncGenerator[chat_pb2.ConverseResponse, None]:
        """Yield the events of each turn, until the caller has no more to say.

        Raises:
            InvalidRequest: A message out of turn, or that is wrong.
            Throttled: SLOW_PRODUCER.
            Failure: Of a turn that failed.
        """
        number = 0
        try:
            while (asked := await self._next()) is not None:
                number += 1
                self._last, self._finished = asked, None
                async with aclosing(self._turn(asked, number)) as responses:
                    async for response in responses:
                        yield response
        except UnicodeEncodeError:
            raise not_unicode() from None

    async def _turn(self, asked: ChatRequest, number: int) -> AsyncGenerator[chat_pb2.ConverseResponse, None]:
        now = time.monotonic
        writer = ReplyWriter(now(), self._limits.stream_message_bytes, partial(chat_pb2.ConverseResponse, turn=number))
        async with aclosing(self._chat(asked)) as batches:
            async for batch in batches:
                last = batch[-1]
                if type(last) is TextDelta:
                    for response in writer.responses(batch, now):
                        yield response
                    continue
                if isinstance(last, Finished):
                    self._finished = last
                for response in await aside.write(lambda each: writer.responses(each, now), batch, shown(batch)):
                    yield response

    async def _next(self) -> ChatRequest | None:
        """What the next turn is to reply to; None at the end of the talk."""
        if self._last is None:
            return await self._first()
        uses = _unanswered(self._finished)
        if uses:
            return await self._answered(self._last, uses)
        given = await self._read("chat")
        if given is None:
            return None
        asked = await aside.read(turn, given.chat, self._limits, "chat.")
        if given.chat.HasField("options"):
            self._options = asked.options
        return self._following(replace(self._last, options=self._options), asked.messages, "chat.messages")

    async def _first(self) -> ChatRequest | None:
        given = await self._read("chat")
        if given is None:
            return None
        if given.chat.request_id:
            raise InvalidRequest.of([Violation("chat.request_id", "is not for Converse")])
        asked = await aside.read(chat_request, given.chat, self._limits, "chat.")
        self._options = asked.options
        return replace(asked, caller_key=self._caller_key)

    async def _answered(self, last: ChatRequest, uses: Sequence[str]) -> ChatRequest | None:
        """Wait for the answer to each use; None if the caller leaves them unanswered."""
        answers: dict[str, deque[ToolResult]] = {tool_id: deque() for tool_id in uses}
        for _ in uses:
            given = await self._read("tool_result")
            if given is None:
                return None
            result = await aside.read(_result, given.tool_result, self._limits)
            if len(answers.get(result.tool_id, ())) >= uses.count(result.tool_id):
                known = "is answered already" if result.tool_id in answers else "is no tool call of the turn before"
                raise InvalidRequest.of([Violation("tool_result.tool_id", f"`{result.tool_id[:64]}` {known}")])
            answers[result.tool_id].append(result)
        said = tuple(Message(role=Role.TOOL, tool_result=answers[tool_id].popleft()) for tool_id in uses)
        options = self._options
        if options.tool_choice not in _OWN_CHOICE:  # else the model would have to ask for tools for ever
            options = replace(options, tool_choice="")
        return self._following(replace(last, options=options), said, "tool_result")

    def _following(self, last: ChatRequest, said: tuple[Message, ...], path: str) -> ChatRequest:
        """The turn after `last`, in which `said` is new."""
        reply = () if self._finished is None else self._finished.messages
        if last.conversation_id:  # the store remembers
            stored = [message.id for message in reply if message.id]  # of an empty reply, nothing is
            sent_id = "" if self._finished is None else self._finished.parent_id
            return replace(last, messages=said, parent_id=stored[-1] if stored else sent_id, if_revision=None)
        kept = tuple(message for message in reply if not is_empty(message))
        return replace(last, messages=self._fitting((*last.messages, *kept, *said), path))

    def _fitting(self, messages: tuple[Message, ...], path: str) -> tuple[Message, ...]:
        """All that is remembered, if one request could hold it."""
        limits, faults = self._limits, Faults()
        if len(messages) > limits.append_messages:
            faults.add(
                path, f"would be message {len(messages)} of this talk, and the limit is {limits.append_messages}"
            )
        size = sum(map(content_bytes, messages))
        if size > limits.request_text_bytes:
            most = limits.request_text_bytes
            text = f"exceeds the context length of a talk: {size} bytes of text, and the limit is {most}; begin another"
            faults.add(path, text, Reason.CONTEXT_LENGTH_EXCEEDED)
        size = inline_bytes(image for message in messages for image in message.images)
        if size > limits.inline_images_bytes:
            text = f"would make {size} bytes of images in this talk, and the limit is {limits.inline_images_bytes}"
            faults.add(path, text, Reason.IMAGE_TOO_LARGE)
        faults.stop()
        return messages

    async def _read(self, kind: str) -> chat_pb2.ConverseRequest | None:
        """Wait for the caller's next message, which has to be of this kind; None if there is none."""
        limit_s = self._limits.talk_idle_s
        try:
            async with asyncio.timeout(limit_s):
                given = await anext(self._requests, None)
        except TimeoutError:
            raise unsent(limit_s) from None
        if given is not None and (found := given.WhichOneof("kind")) != kind:
            if found is None:
                raise InvalidRequest.of([Violation(kind, "is needed", Reason.FIELD_REQUIRED)])
            wanted = "a turn" if kind == "chat" else "the answer to each tool call of the turn before"
            raise InvalidRequest.of([Violation(found, f"is out of turn: {wanted} has to come first")])
        return given


def _unanswered(finished: Finished | None) -> list[str]:
    """The tool calls that the caller has to answer, in their order; one id may be there more than once."""
    if finished is None or finished.reason is not FinishReason.TOOL_USE:
        return []
    uses = [message.tool_use.tool_id for message in finished.messages if message.tool_use]
    for message in finished.messages:
        if message.tool_result and message.tool_result.tool_id in uses:
            uses.remove(message.tool_result.tool_id)
    return uses


def _result(given: message_pb2.ToolResult, limits: Limits) -> ToolResult:
    faults = Faults()
    read = tool_result("tool_result", given, limits, faults)
    faults.stop()
    return read
