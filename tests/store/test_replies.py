from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from stepwired.errors import Failure, InvalidRequest, NotFound, Reason
from stepwired.events import (
    Batch,
    ChatOptions,
    ChatRequest,
    Finished,
    Message,
    MessageStatus,
    ReasoningDelta,
    Role,
    TextDelta,
    ToolResult,
    ToolUse,
)
from stepwired.limits import Limits
from stepwired.store.replies import recorded
from stepwired.store.sqlite import SqliteStore
from tests.store.scripted import STARTED, Model, answer, everything, finished, play, says


async def test_without_a_conversation_the_model_is_asked_directly(store: SqliteStore) -> None:
    model = Model([STARTED, TextDelta("Hi"), finished(answer("Hi"))])
    request = ChatRequest(messages=(Message(text="hi"),))
    assert await play(recorded(model, store), request) == [model.batches[0]]
    assert model.asked == [request]


async def test_the_stream_without_a_conversation_is_the_models_own(store: SqliteStore) -> None:
    made: list[AsyncGenerator[Batch, None]] = []

    def chat(request: ChatRequest) -> AsyncGenerator[Batch, None]:
        made.append(Model([STARTED])(request))
        return made[-1]

    stream = recorded(chat, store)(ChatRequest())
    assert stream is made[0]
    await stream.aclose()


async def test_a_chat_appends_question_and_reply_and_tells_them_as_stored(store: SqliteStore) -> None:
    await store.create("c", messages=[Message(text="first", id="first")])
    model = Model([STARTED], [TextDelta("Hel"), ReasoningDelta("hm")], [TextDelta("lo"), finished(answer("Hello"))])
    batches = await play(recorded(model, store), says("second"))
    first, question, reply = await everything(store)
    assert (question.parent_id, reply.parent_id, (await store.get("c")).head_id) == ("first", question.id, reply.id)
    assert (reply.role, reply.text, reply.status) == (Role.ASSISTANT, "Hello", MessageStatus.COMPLETE)
    assert [len(batch) for batch in batches] == [1, 2, 2]
    end = batches[-1][-1]
    assert isinstance(end, Finished)
    assert (end.messages, end.branched, end.model) == ((reply,), False, "m")
    assert model.asked[0].messages == (first, question)
    assert model.asked[0].conversation_id == ""


async def test_system_and_options_go_to_the_model_and_system_is_not_stored(store: SqliteStore) -> None:
    await store.create("c")
    model = Model([STARTED, finished(answer("r"))])
    request = ChatRequest("gpt", "Be brief.", (Message(text="q"),), "c", options=ChatOptions(seed=7))
    await play(recorded(model, store), request)
    assert (model.asked[0].model, model.asked[0].system, model.asked[0].options.seed) == ("gpt", "Be brief.", 7)
    assert [message.text for message in await everything(store)] == ["q", "r"]


async def test_the_next_chat_is_sent_all_that_went_before_but_nothing_hidden(store: SqliteStore) -> None:
    await store.create("c", messages=[Message(text="shown"), Message(text="secret", metadata={"hidden": True})])
    model = Model([STARTED, TextDelta("r"), finished(answer("r"))])
    await play(recorded(model, store), says("q1"))
    await play(recorded(model, store), says("q2"))
    assert model.texts() == ["shown", "q1", "r", "q2"]


async def test_a_parent_continues_from_any_message(store: SqliteStore) -> None:
    await store.create("c", messages=[Message(text=text, id=text) for text in ("a", "b", "c")])
    model = Model([STARTED, finished(answer("r"))])
    await play(recorded(model, store), says("q", parent_id="a"))
    assert model.texts() == ["a", "q"]
    assert (await store.message("c", (await store.get("c")).head_id)).text == "r"
    [[_, again]] = await play(recorded(model, store), says(parent_id="b"))
    assert model.texts() == ["a", "b"]
    assert isinstance(again, Finished)
    assert (again.messages[0].parent_id, again.branched) == ("b", True)


async def test_a_reply_of_several_messages_is_a_chain(store: SqliteStore) -> None:
    await store.create("c")
    uses = [Message(role=Role.ASSISTANT, tool_use=ToolUse(tool, "find", {"x": 1}), id="mine") for tool in ("t1", "t2")]
    [[_, end]] = await play(recorded(Model([STARTED, finished(answer("Let me see."), *uses)]), store), says("q"))
    question, *reply = await everything(store)
    assert [message.parent_id for message in reply] == [question.id, reply[0].id, reply[1].id]
    assert isinstance(end, Finished)
    assert end.messages == tuple(reply)


async def test_an_empty_reply_leaves_nothing(store: SqliteStore) -> None:
    await store.create("c")
    [[_, end]] = await play(recorded(Model([STARTED, finished(answer(""))]), store), says("q"))
    assert [message.text for message in await everything(store)] == ["q"]
    assert isinstance(end, Finished)
    assert end.branched is False


async def test_two_chats_at_once_make_two_branches_and_say_so(store: SqliteStore) -> None:
    await store.create("c")
    slow = Model([STARTED, TextDelta("r1")], [finished(answer("r1"))])
    async with aclosing(recorded(slow, store)(says("q1"))) as stream:
        await anext(stream)
        [[_, _, other]] = await play(
            recorded(Model([STARTED, TextDelta("r2"), finished(answer("r2"))]), store), says("q2")
        )
        [last] = await anext(stream)
    assert isinstance(last, Finished)
    assert isinstance(other, Finished)
    assert (last.branched, other.branched) == (True, False)
    by_text = {message.text: message for message in await everything(store)}
    assert by_text["r1"].parent_id == by_text["q1"].id == by_text["q2"].parent_id
    assert (await store.get("c")).head_id == by_text["r2"].id == other.messages[0].id


# --- what is refused ---


@pytest.mark.parametrize(
    ("request_", "kind", "reason"),
    [
        (ChatRequest(conversation_id="no", messages=(Message(text="q"),)), NotFound, Reason.CONVERSATION_NOT_FOUND),
        (says("q", parent_id="no"), NotFound, Reason.MESSAGE_NOT_FOUND),
        (says(parent_id="no"), NotFound, Reason.MESSAGE_NOT_FOUND),
        (says("q", ""), InvalidRequest, Reason.INVALID_MESSAGE),
        (says(), InvalidRequest, Reason.INVALID_CONVERSATION),
    ],
)
async def test_what_is_refused_stores_nothing_and_asks_nobody(
    store: SqliteStore, request_: ChatRequest, kind: type[Failure], reason: Reason
) -> None:
    await store.create("c")
    model = Model([STARTED])
    with pytest.raises(kind) as caught:
        await play(recorded(model, store), request_)
    assert caught.value.reason is reason
    assert (model.asked, await everything(store)) == ([], [])


async def test_a_path_that_no_model_can_read_is_refused_before_it_is_all_loaded(tmp_path: Path) -> None:
    # About one message a page, so that what is read can be counted.
    limits = Limits(request_text_bytes=10_000, stream_message_bytes=1)
    store = await SqliteStore.open(tmp_path, limits=limits)
    sizes = {
        "text": Message(text="x" * 1000, id="first"),
        "hidden": Message(text="x" * 9000, metadata={"hidden": True}),
    }
    await store.create("c", messages=list(sizes.values()))
    await store.append("c", [Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "f", {"a": "x" * 4000}))])
    await store.append("c", [Message(role=Role.TOOL, tool_result=ToolResult("t", "x" * 4000))])
    model = Model([STARTED, finished(answer("r"))])
    await play(recorded(model, store, limits), says("q"))
    assert len(model.asked) == 1
    await store.append("c", [Message(text="x" * 2000) for _ in range(20)])
    pages = 0

    class Counted(SqliteStore):
        async def messages(self, *args: Any, **more: Any) -> AsyncGenerator[tuple[Message, ...], None]:
            nonlocal pages
            async with aclosing(SqliteStore.messages(store, *args, **more)) as read:
                async for page in read:
                    pages += 1
                    yield page

    store.__class__ = Counted
    with pytest.raises(InvalidRequest) as caught:
        await play(recorded(model, store, limits), says("q"))
    assert caught.value.reason is Reason.CONTEXT_LENGTH_EXCEEDED
    assert caught.value.violations[0].field == "conversation_id"
    assert (len(model.asked), pages) == (1, 7)
    await play(recorded(model, store, limits), says("from there", parent_id="first"))
    await store.close()
