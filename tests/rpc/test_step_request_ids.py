"""What repeats get: chat steps whose inputs hold an id, and replies that called tools; over a real store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from stepwire.v1 import chat_pb2, step_run_pb2
from stepwired.events import (
    Batch,
    ChatRequest,
    Finished,
    FinishReason,
    Message,
    Role,
    TextDelta,
    ToolResult,
    ToolUse,
    Usage,
)
from stepwired.store.repeating import repeatable
from stepwired.store.replies import recorded
from stepwired.store.sqlite import SqliteStore
from tests.rpc.serving import STARTED, Client, finished, serve
from tests.rpc.test_step_runs import registry

INPUT = {"prompt": "hi", "request_id": "r1"}


class Describing:
    """Says as what it was asked."""

    def __init__(self) -> None:
        self.asked: list[ChatRequest] = []

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        self.asked.append(request)
        text = f"{request.model}: {request.system}"
        yield [STARTED, TextDelta(text), finished(text)]


@asynccontextmanager
async def serving(folder: Path, model: Describing) -> AsyncGenerator[Client]:
    store = await SqliteStore.open(folder)
    try:
        chat = repeatable(recorded(model, store), store)
        async with serve(chat, store=store, steps=registry(chat)) as client:
            yield client
    finally:
        await store.close()


async def run(client: Client, leaf: dict[str, Any]) -> list[str]:
    """What comes of the input: each reply's text, or the reason of each failure."""
    fields = {"steps": [{"chat": leaf}], "input": INPUT}
    request = json_format.ParseDict(fields, step_run_pb2.RunStepRequest())
    events = [event async for event in client.steps.RunStep(request)]
    kinds = [(event, event.WhichOneof("event")) for event in events]
    return [
        event.message.text if kind == "message" else event.failure.reason
        for event, kind in kinds
        if kind in {"message", "failure"}
    ]


async def test_an_id_in_the_input_of_a_chat_step_is_that_of_this_step_as_it_is_set(tmp_path: Path) -> None:
    model = Describing()
    leaf = {"model": "cheap", "system": "Translate.", "options": {"logit_bias": {str(at): 1 for at in range(9)}}}
    async with serving(tmp_path, model) as client:
        assert await run(client, leaf) == ["cheap: Translate."]
        assert await run(client, leaf) == ["cheap: Translate."]
        assert len(model.asked) == 1
        for changed in ({"model": "best"}, {"system": "Summarise."}, {"options": {"seed": 1}}):
            assert await run(client, leaf | changed) == ["REQUEST_ID_MISMATCH"]
    async with serving(tmp_path, model) as client:  # the digest is the same in another process
        assert await run(client, leaf) == ["cheap: Translate."]
    assert len(model.asked) == 1


async def test_ids_of_chat_steps_do_not_meet_those_of_calls(tmp_path: Path) -> None:
    model = Describing()
    async with serving(tmp_path, model) as client:
        request = json_format.ParseDict({**INPUT, "model": "called"}, chat_pb2.StreamChatRequest())
        async for _ in client.chat.StreamChat(request):
            pass
        assert await run(client, {"model": "stepped"}) == ["stepped: "]
    assert [asked.model for asked in model.asked] == ["called", "stepped"]


async def test_a_repeat_gets_the_whole_tool_calls_and_answers_of_the_reply_that_is_kept(tmp_path: Path) -> None:
    uses = [ToolUse(f"use {index}", "find", {"q": index}) for index in range(3)]
    reply = [Message(role=Role.ASSISTANT, tool_use=use) for use in uses]
    reply.insert(2, Message(role=Role.TOOL, tool_result=ToolResult("use 0", "found")))

    async def model(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [STARTED, Finished(FinishReason.TOOL_USE, "echo-1", "scripted", Usage(), tuple(reply))]

    store = await SqliteStore.open(tmp_path)
    try:
        async with serve(repeatable(recorded(model, store), store)) as client:
            request = json_format.ParseDict(INPUT, chat_pb2.StreamChatRequest())
            _, events = [[event async for event in client.chat.StreamChat(request)] for _ in range(2)]
    finally:
        await store.close()
    assert events[0].started.replayed
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["started", "tool_call", "tool_call", "tool_result", "tool_call", "finished"]
    calls = [event.tool_call for event in events if event.HasField("tool_call")]
    assert [(call.index, call.tool_use.tool_id) for call in calls] == [(0, "use 0"), (1, "use 1"), (0, "use 2")]
