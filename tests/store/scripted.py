"""A model that says what it was told to, and what tests of replies need around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from stepwired.conversation import MessageView
from stepwired.errors import Failure
from stepwired.events import (
    Batch,
    Chat,
    ChatRequest,
    Finished,
    FinishReason,
    Message,
    Role,
    Started,
    Usage,
)
from stepwired.store.sqlite import SqliteStore

STARTED = Started("m", "p")


def finished(*messages: Message) -> Finished:
    return Finished(FinishReason.STOP, "m", "p", Usage(), messages)


def answer(text: str) -> Message:
    return Message(role=Role.ASSISTANT, text=text)


class Model:
    """A scripted model: plays its batches, then fails or waits for ever if told to; remembers what it was asked."""

    def __init__(self, *batches: Batch, failure: Failure | None = None, waits: bool = False) -> None:
        self.batches = batches
        self.failure = failure
        self.waits = waits
        self.asked: list[ChatRequest] = []
        self.waiting = asyncio.Event()
        self.log: list[str] = []

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        self.asked.append(request)
        try:
            for batch in self.batches:
                yield batch
            if self.failure is not None:
                raise self.failure
            if self.waits:
                self.waiting.set()
                await asyncio.Event().wait()
        finally:
            self.log.append("closed")

    def texts(self) -> list[str]:
        return [message.text for message in self.asked[-1].messages]


async def play(chat: Chat, request: ChatRequest) -> list[Batch]:
    async with aclosing(chat(request)) as batches:
        return [batch async for batch in batches]


async def everything(store: SqliteStore, name: str = "c") -> list[Message]:
    return [message async for page in store.messages(name, MessageView.ALL) for message in page]


def says(*texts: str, **more: str) -> ChatRequest:
    return ChatRequest(conversation_id="c", messages=tuple(Message(text=text) for text in texts), **more)  # type: ignore[arg-type]
