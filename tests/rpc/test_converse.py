"""Talks: what is remembered of a turn, whose tools are answered, and what a conversation keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from stepwired.events import (
    Batch,
    ChatRequest,
    Finished,
    FinishReason,
    Message,
    MessageStatus,
    Role,
    TextDelta,
    ToolResult,
    ToolUse,
    Usage,
)
from stepwired.store.replies import recorded
from stepwired.store.sqlite import SqliteStore
from tests.rpc.keeping import Asking
from tests.rpc.lines import Line, Model, talking, texts, wants
from tests.rpc.serving import STARTED, serve, within


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
