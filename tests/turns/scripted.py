"""A model that says what it was told to, turn by turn, and steps that do what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from stepwired.errors import Failure
from stepwired.events import (
    Attempt,
    Batch,
    Chat,
    ChatOptions,
    ChatRequest,
    Event,
    Finished,
    FinishReason,
    Json,
    Message,
    Role,
    Started,
    TextDelta,
    Tool,
    ToolAnswer,
    ToolCallDelta,
    ToolCalled,
    ToolStep,
    ToolUse,
    Usage,
    UsageSource,
)

SCHEMA = b'{"properties":{"city":{"type":"string"}},"type":"object"}'
WEATHER = Tool("weather", "Tells the weather.", SCHEMA, step="weather")
USAGE = Usage(UsageSource.PROVIDER, 10, 5, cost_usd=0.5)


def use(name: str, number: int = 0, **given: Json) -> ToolUse:
    return ToolUse(f"{name}-{number}", name, given)


def turn(
    *texts: str, uses: tuple[ToolUse, ...] = (), reason: FinishReason | None = None, **more: Any
) -> list[list[Event]]:
    """The batches of one turn: texts, then calls."""
    messages = [Message(Role.ASSISTANT, "".join(texts))] if texts or not uses else []
    messages += [Message(Role.ASSISTANT, tool_use=each) for each in uses]
    calls = [ToolCalled(index, each) for index, each in enumerate(uses)]
    pieces = [ToolCallDelta(index, each.tool_id, each.name, "{}") for index, each in enumerate(uses)]
    ended = reason or (FinishReason.TOOL_USE if uses else FinishReason.STOP)
    attempts = (Attempt("p", "m"),)
    finished = Finished(ended, "m", "p", USAGE, tuple(messages), attempts=attempts, **more)
    told: list[Event] = [Started("m", "p"), *(TextDelta(text) for text in texts), *pieces]
    return [*([event] for event in told), [*calls, finished]]


class Model:
    """Plays one turn each time it is asked; a `Failure` in a turn is raised there. The last one stays."""

    def __init__(self, *turns: list[Any]) -> None:
        self.turns = turns
        self.asked: list[ChatRequest] = []
        self.open = 0

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        self.asked.append(request)
        self.open += 1
        try:
            for batch in self.turns[min(len(self.asked), len(self.turns)) - 1]:
                if isinstance(batch, Failure):
                    raise batch
                yield batch
        finally:
            self.open -= 1


@dataclass
class Steps:
    """Steps by name; each gets its input and gives its text, or raises."""

    runs: Mapping[str, Callable[[Any], Awaitable[str]]]
    ran: list[tuple[str, Json]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    cancelled: int = 0
    facts: Mapping[str, Json] = field(default_factory=dict)

    async def find(self, name: str, /) -> ToolStep | None:
        return ToolStep("What it does.", SCHEMA) if name in self.runs else None

    async def run(self, name: str, value: Json, /, *, limit_bytes: int) -> ToolAnswer:
        self.ran.append((name, value))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            text = await self.runs[name](value)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.at_once -= 1
        return ToolAnswer(text[:limit_bytes], len(text.encode()), self.facts)


async def sunny(_: Any) -> str:
    return "sunny"


def asking(*tools: Tool, **options: Any) -> ChatRequest:
    return ChatRequest(
        messages=(Message(text="Is it warm?"),), options=ChatOptions(tools=tools or (WEATHER,), **options)
    )


async def told(chat: Chat, request: ChatRequest) -> list[Event]:
    async with aclosing(chat(request)) as batches:
        found = [batch async for batch in batches]
    assert all(found), "no batch is empty"
    return [event for batch in found for event in batch]


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def the_end(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    assert sum(isinstance(event, Finished) for event in events) == 1
    return events[-1]


def text_since_restart(events: list[Event]) -> str:
    names = kinds(events)
    begin = len(names) - names[::-1].index("Restarted") if "Restarted" in names else 0
    return "".join(event.text for event in events[begin:] if isinstance(event, TextDelta))
