"""A talk with a model on one call: turn by turn, and the caller answers the model's tool calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Final, Self

from stepwire import _asking, _requests, errors, replies
from stepwire._connection import Connection, Metadata
from stepwire._line import Line
from stepwire._requests import MessageLike, OptionsLike
from stepwire._tools import Tools
from stepwire.v1 import chat_pb2, message_pb2

_NO_TOOLS = Tools([], {})

_COUNTS: Final = (
    "input_token_count",
    "output_token_count",
    "reasoning_token_count",
    "cached_input_token_count",
    "cost_usd",
)


class AsyncTalk:
    """A talk with a model. Made by `AsyncClient.converse`; use it in an `async with`, which ends it.

    Attributes:
        turn: Which turn it is, from 1; 0 before the first.
    """

    def __init__(
        self, connection: Connection, first: chat_pb2.StreamChatRequest, timeout_s: float | None, metadata: Metadata
    ) -> None:
        self.turn = 0
        self._connection = connection
        self._first: chat_pb2.StreamChatRequest | None = first
        self._kept = chat_pb2.ChatOptions(tools=first.options.tools)
        if first.options.HasField("response_format"):
            self._kept.response_format.CopyFrom(first.options.response_format)
        self._timeout_s = timeout_s
        self._metadata = metadata
        self._opened: Line[chat_pb2.ConverseRequest, chat_pb2.ConverseResponse] | None = None

    async def send(
        self, prompt: str = "", *, messages: Iterable[MessageLike] = (), options: OptionsLike | None = None
    ) -> None:
        """Begin a turn. Everything said so far is remembered; what is wrong is told by `receive`.

        Args:
            prompt: What the user says.
            messages: What is new since the turn before, before the prompt.
            options: How to answer from now on; None: as before. The talk keeps its tools and format, unless these
                say others.
        """
        with _requests.checked():
            request, self._first = self._first or chat_pb2.StreamChatRequest(), None
            request.prompt = prompt
            if options is not None:
                request.options.CopyFrom(_requests.options(options) or chat_pb2.ChatOptions())
                if not request.options.tools:
                    request.options.tools.extend(self._kept.tools)
                if self._kept.HasField("response_format") and not request.options.HasField("response_format"):
                    request.options.response_format.CopyFrom(self._kept.response_format)
            await _asking.fill(
                self._connection,
                request,
                messages=messages,
                options=None,
                tools=_NO_TOOLS,
                response_format=None,
                timeout_s=None,
            )
        await self._line.write(chat_pb2.ConverseRequest(chat=request))

    async def answer(self, tool_id: str, result: str, *, is_error: bool = False) -> None:
        """Answer one tool call of the turn before. When the last is answered the next turn begins by itself.

        Args:
            tool_id: As the call says it.
            result: The answer.
            is_error: Whether the tool failed, so that `result` says why.
        """
        with _requests.checked():
            answer = message_pb2.ToolResult(tool_id=tool_id, result=result, is_error=is_error)
        await self._line.write(chat_pb2.ConverseRequest(tool_result=answer))

    async def receive(self) -> AsyncGenerator[replies.ChatEvent, None]:
        """Yield the events of one turn, `Started` to `Finished`.

        Raises:
            errors.Error: The turn failed, and with it the talk.
        """
        while True:
            response = await self._line.read(self._connection.idle_s)
            if response is None:
                raise errors.ServerError("the talk ended without the last event of a turn", code="INTERNAL")
            self.turn = response.turn
            if (event := replies.chat_event(response)) is not None:
                yield event
            if isinstance(event, replies.Finished):
                return

    async def close(self) -> None:
        """End the talk. May be called again."""
        if self._opened is not None:
            self._opened.cancel()

    async def finish(self) -> None:
        """Say that there is nothing more to be said, and wait until the server has taken note."""
        await self._line.done()
        while await self._line.read(self._connection.idle_s) is not None:
            pass

    @property
    def _line(self) -> Line[chat_pb2.ConverseRequest, chat_pb2.ConverseResponse]:
        if self._opened is None:
            stub = self._connection.chat.Converse
            self._opened = self._connection.converse(stub, self._timeout_s, self._metadata)
        return self._opened

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def with_functions(
    talk: AsyncTalk, tools: Tools, prompt: str, max_tool_turns: int
) -> AsyncGenerator[replies.ChatEvent, None]:
    """Stream one reply for which functions of this program are called.

    Its `Finished` has the messages of all turns, with what the functions answered, and what they used together. The
    rest of it is that of the last turn, which asks for tools where `max_tool_turns` was reached, or a tool is none of
    the functions. If a later turn begins again, the turns before it are told again behind `Restarted`.
    """
    whole: chat_pb2.ChatFinished | None = None
    done: list[replies.ChatEvent] = []
    async with talk:
        await talk.send(prompt)
        for turn in range(max_tool_turns + 1):
            called: dict[str, replies.ToolCalled] = {}
            now: list[replies.ChatEvent] = []
            finished: replies.Finished | None = None
            async with aclosing(talk.receive()) as events:
                async for event in events:
                    if isinstance(event, replies.Finished):
                        finished = event
                        continue
                    if isinstance(event, replies.ToolCalled):
                        called[event.tool_id] = event
                    yield event
                    if isinstance(event, replies.Restarted):
                        now.clear()
                        for each in done:
                            yield each
                    elif not isinstance(event, replies.Started | replies.ToolCallDelta):
                        now.append(event)
            assert finished is not None
            done += now
            whole = _together(whole, finished.proto)
            due = [called[tool_id] for tool_id in _unanswered(finished) if tool_id in called]
            if not due or turn == max_tool_turns or any(each.name not in tools.functions for each in due):
                await talk.finish()
                yield replies.Finished.of(whole)
                return
            for result in await _answers(tools, due):
                await talk.answer(result.tool_id, result.result, is_error=result.is_error)
                whole.messages.add(role="tool", tool_result=result)
                done.append(replies.ToolAnswered(result.tool_id, result.result, result.is_error))
                yield done[-1]


def _together(before: chat_pb2.ChatFinished | None, last: chat_pb2.ChatFinished) -> chat_pb2.ChatFinished:
    """The end of a turn as that of all until then."""
    made = chat_pb2.ChatFinished()
    made.CopyFrom(last)
    if before is not None:
        made.ClearField("messages")
        made.messages.extend([*before.messages, *last.messages])
        made.ClearField("attempts")
        made.attempts.extend([*before.attempts, *last.attempts])
        made.turns += before.turns
        if before.HasField("usage"):
            _add(made.usage, before.usage)
    return made


def _add(usage: message_pb2.Usage, more: message_pb2.Usage) -> None:
    """A count that only one of them tells is that of both, and the sum as sure as the less sure of them."""
    for name in _COUNTS:
        if more.HasField(name):
            setattr(usage, name, getattr(usage, name) + getattr(more, name))
    usage.source = max(usage.source, more.source)
    usage.corrected |= more.corrected


def _unanswered(finished: replies.Finished) -> list[str]:
    """The tool calls that are ours to answer: a tool of the server has answered its own."""
    if finished.reason != "tool_use":
        return []
    uses = [message.tool_use.tool_id for message in finished.messages if message.HasField("tool_use")]
    for message in finished.messages:
        if message.HasField("tool_result") and message.tool_result.tool_id in uses:
            uses.remove(message.tool_result.tool_id)
    return uses


async def _answers(tools: Tools, due: Sequence[replies.ToolCalled]) -> list[message_pb2.ToolResult]:
    """Call the functions, all at once."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(tools.answer(each)) for each in due]
    return [task.result() for task in tasks]
