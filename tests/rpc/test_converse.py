from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import json_format

from stepwire.v1 import chat_pb2
from stepwired.errors import Reason, Unavailable
from stepwired.events import (
    Batch,
    ChatRequest,
    Finished,
    FinishReason,
    Message,
    MessageStatus,
    Role,
    TextDelta,
    ToolCalled,
    ToolResult,
    ToolUse,
    Usage,
)
from stepwired.limits import Limits
from stepwired.store.replies import recorded
from stepwired.store.sqlite import SqliteStore
from tests.rpc.keeping import Asking
from tests.rpc.serving import STARTED, Client, Told, finished, read, serve, told, within

Kinds = list[tuple[int, str]]


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


async def test_a_talk_remembers_what_was_said_and_how_to_answer() -> None:
    model = Model()
    async with talking(model) as line:
        await line.chat("one", model="gpt-4", system="Be brief.", options={"seed": 7})
        first = await line.turn()
        assert [(event.turn, event.WhichOneof("event")) for event in first] == [
            (1, "started"),
            (1, "text_delta"),
            (1, "finished"),
        ]
        await line.chat("two")
        assert {event.turn for event in await line.turn()} == {2}
        await line.chat(messages=[{"text": "three"}, {"text": "four"}], options={"temperature": 1})
        await line.turn()
        await line.end()
    assert [texts(each) for each in model.asked] == [
        ["one"],
        ["one", "one", "two"],
        ["one", "one", "two", "two", "three", "four"],
    ]
    assert {(each.model, each.system) for each in model.asked} == {("gpt-4", "Be brief.")}
    assert [(each.options.seed, each.options.temperature) for each in model.asked] == [(7, None), (7, None), (None, 1)]


async def test_when_the_last_tool_is_answered_the_next_turn_begins_by_itself() -> None:
    model = Model(wants("a", "b"), wants("c"))
    tools = {"tools": [{"name": "find"}], "tool_choice": "required"}
    async with talking(model) as line:
        await line.chat("go", options=tools)
        first = await line.turn()
        assert [event.tool_call.tool_use.tool_id for event in first if event.HasField("tool_call")] == ["a", "b"]
        await line.answer("b", "for b")
        await line.answer("a", "for a")
        assert (await line.turn())[-1].turn == 2
        await line.answer("c", "for c")
        last = await line.turn()
        assert (last[-1].turn, last[-1].finished.messages[0].text) == (3, "for c")
        await line.chat("more")
        await line.turn()
        await line.end()
    assert texts(model.asked[1]) == ["go", "use a", "use b", "for a", "for b"]
    assert texts(model.asked[2]) == ["go", "use a", "use b", "for a", "for b", "use c", "for c"]
    # A model that has to ask for a tool would do so for ever.
    assert [each.options.tool_choice for each in model.asked] == ["required", "", "", "required"]
    assert all(each.options.tools for each in model.asked)


async def test_tools_that_the_server_ran_are_not_the_callers_to_answer() -> None:
    use = ToolUse("s", "clock", {})
    ran = (
        Message(role=Role.ASSISTANT, tool_use=use),
        Message(role=Role.TOOL, tool_result=ToolResult("s", "noon")),
        Message(role=Role.ASSISTANT, tool_use=ToolUse("mine", "find", {})),
    )
    model = Model(Finished(FinishReason.TOOL_USE, "m", "p", Usage(), ran))
    async with talking(model) as line:
        await line.chat("go")
        await line.turn()
        await line.answer("mine", "here")
        await line.turn()
        await line.end()
    assert texts(model.asked[1]) == ["go", "use s", "noon", "use mine", "here"]


async def test_uses_of_one_id_are_answered_in_their_order() -> None:
    model = Model(wants("0", "0"))
    async with talking(model) as line:
        await line.chat("go")
        await line.turn()
        await line.answer("0", "first")
        await line.answer("0", "second")
        await line.turn()
        await line.end()
    assert texts(model.asked[1]) == ["go", "use 0", "use 0", "first", "second"]


CHAT = {"chat": {"prompt": "hi"}}
RESULT = {"tool_result": {"tool_id": "a", "result": "x"}}


@pytest.mark.parametrize(
    ("said", "field", "reason"),
    [
        ([RESULT], "tool_result", "FIELD_INVALID"),
        ([{}], "chat", "FIELD_REQUIRED"),
        ([{"chat": {}}], "chat.prompt", "INVALID_CONVERSATION"),
        ([{"chat": {"prompt": "hi", "request_id": "r"}}], "chat.request_id", "FIELD_INVALID"),
        ([{"chat": {"prompt": "hi", "options": {"top_p": 2}}}], "chat.options.top_p", "MODEL_CONFIG_INVALID"),
        ([{"chat": {"messages": [{"role": "?", "text": "x"}]}}], "chat.messages[0].role", "INVALID_MESSAGE"),
        ([CHAT, CHAT], "chat", "FIELD_INVALID"),
        ([CHAT, {}], "tool_result", "FIELD_REQUIRED"),
        ([CHAT, {"tool_result": {"tool_id": "z"}}], "tool_result.tool_id", "FIELD_INVALID"),
        ([CHAT, {"tool_result": {"result": "x"}}], "tool_result.tool_id", "FIELD_REQUIRED"),
        ([CHAT, RESULT, RESULT], "tool_result.tool_id", "FIELD_INVALID"),
        ([CHAT, RESULT, {"tool_result": {"tool_id": "b"}}, RESULT], "tool_result", "FIELD_INVALID"),
        ([CHAT, RESULT, {"tool_result": {"tool_id": "b"}}, {"chat": {}}], "chat.prompt", "INVALID_CONVERSATION"),
        *(
            (
                [CHAT, RESULT, {"tool_result": {"tool_id": "b"}}, {"chat": {"prompt": "x", name: value}}],
                f"chat.{name}",
                r,
            )
            for name, value, r in [
                ("model", "m", "FIELD_INVALID"),
                ("system", "s", "FIELD_INVALID"),
                ("conversation_id", "c", "FIELD_INVALID"),
                ("parent_id", "p", "FIELD_INVALID"),
                ("if_revision", 0, "FIELD_INVALID"),
                ("request_id", "r", "FIELD_INVALID"),
                ("options", {"seed": -1}, "MODEL_CONFIG_INVALID"),
            ]
        ),
    ],
)
async def test_a_message_out_of_turn_or_wrong_is_named(said: list[dict[str, Any]], field: str, reason: str) -> None:
    async with talking(Model(wants("a", "b"))) as line:
        for each in said:
            await line.say(**each)
        error = await line.failure()
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert error.fields[0][0].startswith(field)


async def test_a_turn_that_fails_ends_the_call() -> None:
    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [STARTED, TextDelta("Hel")]
        raise Unavailable(Reason.PROVIDER_STREAM_TRUNCATED, "broke off")

    async with talking(chat) as line:
        await line.chat("hi")
        error = await line.failure()
    assert error.reason == "PROVIDER_STREAM_TRUNCATED"
    assert error.facts["partial"] == "true"


async def test_who_says_nothing_at_all_ends_well() -> None:
    async with talking(Model()) as line:
        await line.end()


async def test_tool_calls_may_be_left_unanswered() -> None:
    async with talking(Model(wants("a"))) as line:
        await line.chat("go")
        await line.turn()
        await line.end()


async def test_a_turn_is_finished_for_a_caller_who_has_closed_its_half() -> None:
    async with talking(Model()) as line:
        await line.chat("one")
        await line.chat("two")
        await line.call.done_writing()
        await line.turn()
        assert (await line.turn())[-1].finished.messages[0].text == "two"
        assert await within(line.call.read()) is grpc.aio.EOF
        assert await within(line.call.code()) is grpc.StatusCode.OK


async def test_who_says_nothing_between_two_turns_is_ended() -> None:
    async with talking(Model(), limits=Limits(talk_idle_s=0.05)) as line:
        await line.chat("one")
        error = await line.failure()
    assert (error.reason, error.facts) == ("SLOW_PRODUCER", {"limitSeconds": "0.05", "partial": "true"})


async def test_a_talk_is_no_longer_than_one_request() -> None:
    for limits, reason in (
        (Limits(append_messages=4), "FIELD_INVALID"),
        (Limits(request_text_bytes=40), "CONTEXT_LENGTH_EXCEEDED"),
    ):
        async with talking(Model(), limits=limits) as line:
            for _ in range(3):
                await line.chat("ten bytes.")
            error = await line.failure()
        assert (error.reason, error.fields[0][0]) == (reason, "chat.messages")


# --- in a conversation ---


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[SqliteStore]:
    store = await SqliteStore.open(tmp_path)
    yield store
    await store.close()


async def test_a_talk_in_a_conversation_is_stored_as_it_goes(store: SqliteStore) -> None:
    model = Model(wants("a"))
    async with serve(recorded(model, store), store=store) as client:
        ask = Asking(client)
        await ask.CreateConversation(conversation_id="c", messages=[{"text": "before"}])
        line = Line(client)
        await line.chat("go", conversation_id="c", if_revision=2)
        await line.turn()
        await ask.AppendMessages(conversation_id="c", messages=[{"text": "somebody else", "parent_id": ""}])
        await line.answer("a", "for a")
        end = (await line.turn())[-1].finished
        await line.chat("more")
        await line.turn()
        await line.end()
        stored = await ask.messages()
    assert not end.branched
    said = [message.text or message.tool_use.tool_id or message.tool_result.result for message in stored]
    assert said == ["before", "go", "a", "for a", "for a", "more", "more"]
    assert texts(model.asked[1]) == ["before", "go", "use a", "for a"]


async def test_a_turn_that_is_cut_off_leaves_its_text(store: SqliteStore) -> None:
    closed = asyncio.Event()

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        try:
            yield [STARTED, TextDelta("Hel")]
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with serve(recorded(chat, store), store=store) as client:
        await store.create("c")
        line = Line(client)
        await line.chat("hi", conversation_id="c")
        await within(line.call.read())
        await within(line.call.read())
        line.call.cancel()
        await within(closed.wait())
    await store.update("c", title="later")  # behind what the call has handed over
    stored = [message async for page in store.messages("c") for message in page]
    assert [(message.text, message.status) for message in stored] == [
        ("hi", MessageStatus.COMPLETE),
        ("Hel", MessageStatus.INTERRUPTED),
    ]
