"""Has a model use tools that run on this server: asks it, runs what it calls, tells it the answers, asks again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import msgspec

from stepwired.events import (
    Attempt,
    Batch,
    Chat,
    ChatOptions,
    ChatRequest,
    Event,
    Finished,
    FinishReason,
    Message,
    Restarted,
    Started,
    ToolAnswered,
    ToolCallDelta,
    ToolCalled,
    ToolSteps,
    Usage,
    total,
)
from stepwired.limits import Limits
from stepwired.turns.running import Running, Wanted

_FREE = frozenset({"", "auto"})


def with_tools(chat: Chat, steps: ToolSteps, limits: Limits | None = None) -> Chat:
    """Make `chat` run tools that name a `step`; a request without any is passed on as it is.

    When a turn ends with calls of such tools, they are run, each is told as `ToolAnswered` when it ends, and the model
    is asked again, until it answers, or `max_turns` is reached: the last time it is not offered them. What fails, or
    takes longer than `tool_timeout_s`, is an answer too, marked as an error, with reason and message. A turn that also
    calls tools that the caller answers ends the reply with TOOL_USE, when ours have answered.

    `Finished` holds the messages of all turns, and what they used together. Indexes of tool calls count on from turn
    to turn. If a later turn begins again, the turns before it are told again behind `Restarted`; no tool runs twice.

    The stream raises, beside what `chat` raises:
        Failure: Of a tool, if it would fail for each further input alike: a key, an account.
        Throttled: STEP_LIMIT_EXCEEDED: tools within tools, too deep.
    """
    kept = limits or Limits()

    def run(request: ChatRequest) -> AsyncGenerator[Batch, None]:
        options = request.options
        if options.tool_choice == "none" or not any(tool.step for tool in options.tools):
            return chat(request)
        return _Exchange(chat, Running(steps, kept, options.tool_timeout_s), kept, request).run()

    return run


class _Exchange:
    """The turns of one reply."""

    def __init__(self, chat: Chat, running: Running, limits: Limits, request: ChatRequest) -> None:
        self._chat = chat
        self._running = running
        self._limits = limits
        self._request = request
        self._steps = {tool.name: tool.step for tool in request.options.tools if tool.step}
        self._turns = 0
        self._restarts = 0
        self._calls = 0
        """Tool calls of the turns before."""

        self._done: list[Event] = []
        """What was told of the turns before."""

        self._now: list[Event] = []
        """What was told of this one."""

        self._said: list[Message] = []
        self._usage: Usage | None = None
        self._attempts: list[Attempt] = []

    async def run(self) -> AsyncGenerator[Batch, None]:
        self._running.check_depth()
        while True:
            finished: Finished | None = None
            async with aclosing(self._chat(self._next())) as batches:
                async for batch in batches:
                    if isinstance(last := batch[-1], Finished):
                        finished = last
                    if told := self._told(batch):
                        yield told
            if finished is None:
                return
            self._note(finished)
            wanted = self._wanted(finished)
            answers: dict[int, Message] = {}
            async with aclosing(self._running.answers(wanted)) as ended:
                async for place, answer in ended:
                    answers[place] = answer
                    assert answer.tool_result is not None
                    self._done.append(ToolAnswered(answer.tool_result))
                    yield [self._done[-1]]
            self._said += (answers[place] for place in sorted(answers))
            uses = sum(message.tool_use is not None for message in finished.messages)
            if not wanted or len(wanted) < uses:
                yield [self._whole(finished)]
                return

    def _next(self) -> ChatRequest:
        """What the model is asked in the turn that begins."""
        self._turns += 1
        options = self._request.options
        if self._turns > 1 and options.tool_choice not in _FREE:
            options = replace(options, tool_choice="")  # else the model would have to call tools for ever
        if self._turns >= options.max_turns or self._running.count >= self._limits.tool_runs:
            self._steps = {}
            options = _without_steps(options)
        return replace(self._request, messages=(*self._request.messages, *self._said), options=options)

    def _told(self, batch: Batch) -> list[Event]:
        """What the caller is told of a batch: one reply, of which this is a part."""
        told: list[Event] = []
        for event in batch:
            match event:
                case Finished():
                    pass  # that of the last turn is told, for all
                case Started():
                    told += [event] if self._turns == 1 else []
                case Restarted():
                    self._restarts += 1
                    self._now.clear()
                    told += (msgspec.structs.replace(event, attempt=1 + self._restarts), *self._done)
                case ToolCallDelta():  # pieces are for showing as they come, and not told again
                    told.append(msgspec.structs.replace(event, index=self._calls + event.index))
                case ToolCalled():
                    self._now.append(msgspec.structs.replace(event, index=self._calls + event.index))
                    told.append(self._now[-1])
                case _:
                    self._now.append(event)
                    told.append(event)
        return told

    def _note(self, finished: Finished) -> None:
        """Take note of a turn that is over."""
        self._done += self._now
        self._now.clear()
        self._calls += sum(message.tool_use is not None for message in finished.messages)
        self._said += finished.messages
        self._usage = total(self._usage, finished.usage)
        self._attempts += finished.attempts

    def _wanted(self, finished: Finished) -> list[Wanted]:
        """The calls of a turn that are ours. A turn that was cut off is not acted upon."""
        if finished.reason is not FinishReason.TOOL_USE:
            return []
        uses = [message.tool_use for message in finished.messages if message.tool_use is not None]
        return [Wanted(use, self._steps[use.name]) for use in uses if use.name in self._steps]

    def _whole(self, finished: Finished) -> Finished:
        """The end of the last turn as that of all."""
        return msgspec.structs.replace(
            finished,
            usage=self._usage or finished.usage,
            messages=tuple(self._said),
            attempts=tuple(self._attempts),
            turns=self._turns,
        )


def _without_steps(options: ChatOptions) -> ChatOptions:
    """The options without the tools that run here."""
    tools = tuple(tool for tool in options.tools if not tool.step)
    choice = options.tool_choice
    if not tools:
        return replace(options, tools=(), tool_choice="", parallel_tool_calls=None)
    is_there = choice in {*_FREE, "required", *(tool.name for tool in tools)}
    return replace(options, tools=tools, tool_choice=choice if is_there else "")
