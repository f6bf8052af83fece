"""A call of Converse from its caller's end, and a model that asks for tools as it is told to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import json_format

from stepwire.v1 import chat_pb2
from stepwired.events import (
    Batch,
    ChatRequest,
    Finished,
    FinishReason,
    Message,
    Role,
    TextDelta,
    ToolCalled,
    ToolUse,
    Usage,
)
from tests.rpc.serving import STARTED, Client, Told, finished, read, serve, told, within


def wants(*tool_ids: str) -> Finished:
    """The end of a turn that asks for tools."""
    uses = [Message(role=Role.ASSISTANT, tool_use=ToolUse(tool_id, "find", {"q": tool_id})) for tool_id in tool_ids]
    return Finished(FinishReason.TOOL_USE, "echo-1", "scripted", Usage(), tuple(uses))


class Model:
    """Answers with what it is told to, turn by turn; then with what was said last."""

    def __init__(self, *ends: Finished) -> None:
        self.ends = list(ends)
        self.asked: list[ChatRequest] = []

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        self.asked.append(request)
        last = request.messages[-1]
        text = last.tool_result.result if last.tool_result else last.text
        end = self.ends.pop(0) if self.ends else finished(text)
        uses = [message.tool_use for message in end.messages if message.tool_use]
        yield [STARTED, *(ToolCalled(index, use) for index, use in enumerate(uses))]
        if not uses:
            yield [TextDelta(text)]
        yield [end]


class Line:
    """One call of Converse, from the caller's end."""

    def __init__(self, client: Client, **options: Any) -> None:
        self.call = client.chat.Converse(**options)

    async def say(self, **fields: Any) -> None:
        await self.call.write(json_format.ParseDict(fields, chat_pb2.ConverseRequest()))

    async def chat(self, prompt: str = "", **fields: Any) -> None:
        await self.say(chat={"prompt": prompt, **fields})

    async def answer(self, tool_id: str, result: str) -> None:
        await self.say(tool_result={"tool_id": tool_id, "result": result})

    async def turn(self) -> list[chat_pb2.ConverseResponse]:
        events: list[chat_pb2.ConverseResponse] = [await read(self.call)]
        while not events[-1].HasField("finished"):
            events.append(await read(self.call))
        return events

    async def end(self) -> None:
        await self.call.done_writing()
        assert await within(self.call.read()) is grpc.aio.EOF
        assert await within(self.call.code()) is grpc.StatusCode.OK

    async def failure(self) -> Told:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await within(self._rest())
        return told(caught.value)

    async def _rest(self) -> None:
        while await self.call.read() is not grpc.aio.EOF:
            pass


@asynccontextmanager
async def talking(model: Callable[..., Any], **serving: Any) -> AsyncGenerator[Line]:
    async with serve(model, **serving) as client:
        line = Line(client)
        try:
            yield line
        finally:
            line.call.cancel()


def texts(request: ChatRequest) -> list[str]:
    return [
        message.text
        or (message.tool_use and f"use {message.tool_use.tool_id}")
        or (message.tool_result and message.tool_result.result)
        or ""
        for message in request.messages
    ]
