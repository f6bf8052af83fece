from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from stepwired.conversation import MessageView
from stepwired.errors import Failure, InvalidRequest, NotFound, Reason, Throttled, Unavailable
from stepwired.events import (
    Batch,
    Chat,
    ChatOptions,
    ChatRequest,
    Finished,
    FinishReason,
    Message,
    MessageStatus,
    ReasoningDelta,
    Role,
    Started,
    TextDelta,
    ToolUse,
    Usage,
)
from stepwired.limits import Limits
from stepwired.store.replies import recorded
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


# --- what is stored and sent ---


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


# --- replies that are cut off ---


def check_kept(messages: Sequence[Message], text: str) -> None:
    """The question stays; the reply is there as far as it came, as interrupted, or not at all."""
    assert messages[0].text == "q"
    assert [(m.role, m.text, m.status, m.parent_id) for m in messages[1:]] == (
        [(Role.ASSISTANT, text, MessageStatus.INTERRUPTED, messages[0].id)] if text else []
    )


CUTS: list[tuple[list[Batch], str]] = [
    ([], ""),
    ([[STARTED]], ""),
    ([[STARTED, ReasoningDelta("hm")]], ""),
    ([[STARTED, TextDelta("One")]], "One"),
    ([[STARTED], [TextDelta("One"), TextDelta(", two")], [TextDelta(", three")]], "One, two, three"),
]


@pytest.mark.parametrize(("batches", "text"), CUTS)
@pytest.mark.parametrize("reason", [Reason.PROVIDER_STREAM_TRUNCATED, Reason.PROVIDER_STREAM_STALLED])
async def test_a_reply_that_fails_keeps_its_text_and_the_failure_its_reason(
    store: SqliteStore, batches: list[Batch], text: str, reason: Reason
) -> None:
    await store.create("c")
    model = Model(*batches, failure=Unavailable(reason, "gone"))
    with pytest.raises(Unavailable) as caught:
        await play(recorded(model, store), says("q"))
    assert caught.value.reason is reason
    check_kept(await everything(store), text)


@pytest.mark.parametrize(("batches", "text"), CUTS)
async def test_a_cancelled_reply_keeps_its_text(store: SqliteStore, batches: list[Batch], text: str) -> None:
    await store.create("c")
    model = Model(*batches, waits=True)
    task = asyncio.create_task(play(recorded(model, store), says("q")))
    await model.waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert model.log == ["closed"]
    check_kept(await everything(store), text)


@pytest.mark.parametrize(("batches", "text"), CUTS[1:])
async def test_a_reply_whose_reader_leaves_keeps_its_text(store: SqliteStore, batches: list[Batch], text: str) -> None:
    await store.create("c")
    async with aclosing(recorded(Model(*batches, waits=True), store)(says("q"))) as stream:
        for _ in batches:
            await anext(stream)
    check_kept(await everything(store), text)


class Watched(SqliteStore):
    """Tells when a reply is handed over."""

    log: list[str]
    entered: asyncio.Event

    async def append_reply(
        self, conversation_id: str, parent_id: str, messages: Sequence[Message]
    ) -> tuple[tuple[Message, ...], bool]:
        self.log.append("stored")
        self.entered.set()
        return await super().append_reply(conversation_id, parent_id, messages)


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncGenerator[Watched]:
    store = await Watched.open(tmp_path)
    assert isinstance(store, Watched)
    store.log, store.entered = [], asyncio.Event()
    await store.create("c")
    yield store
    await store.close()


async def test_the_model_is_stopped_before_its_text_is_stored(watched: Watched) -> None:
    model = Model([STARTED, TextDelta("One")], waits=True)
    model.log = watched.log
    async with aclosing(recorded(model, watched)(says("q"))) as stream:
        await anext(stream)
    assert watched.log == ["closed", "stored"]


async def test_a_second_cancel_does_not_lose_the_text(watched: Watched) -> None:
    model = Model([STARTED, TextDelta("One")], waits=True)
    task = asyncio.create_task(play(recorded(model, watched), says("q")))
    await model.waiting.wait()
    task.cancel()
    await watched.entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await watched.get("c")
    await watched.append("c", [Message(text="next")])  # after what was handed over before
    check_kept((await everything(watched))[:2], "One")


async def test_a_cancel_while_the_whole_reply_is_stored_leaves_it_whole(watched: Watched) -> None:
    model = Model([STARTED, TextDelta("One"), finished(answer("One"))])
    task = asyncio.create_task(play(recorded(model, watched), says("q")))
    await watched.entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await watched.append("c", [Message(text="next")])
    assert [(m.text, m.status) for m in await everything(watched)] == [
        ("q", MessageStatus.COMPLETE),
        ("One", MessageStatus.COMPLETE),
        ("next", MessageStatus.COMPLETE),
    ]


async def test_an_interrupted_reply_on_a_conversation_that_went_on_is_a_branch(store: SqliteStore) -> None:
    await store.create("c")
    async with aclosing(recorded(Model([STARTED, TextDelta("One")], waits=True), store)(says("q"))) as stream:
        await anext(stream)
        await store.append("c", [Message(text="meanwhile", id="meanwhile")])
    question, _, partial = await everything(store)
    assert (partial.parent_id, partial.status) == (question.id, MessageStatus.INTERRUPTED)
    assert (await store.get("c")).head_id == "meanwhile"


async def test_a_reply_that_finds_the_disk_full_fails_after_its_text(store: SqliteStore) -> None:
    await store.create("c")
    model = Model([STARTED], [TextDelta("x"), finished(answer("x" * 1_000_000))])
    async with aclosing(recorded(model, store)(says("q"))) as stream:
        assert await anext(stream) == [STARTED]
        await store._writer.submit(lambda db: db.pragma("max_page_count", db.pragma("page_count") + 5))
        with pytest.raises(Throttled) as caught:
            await anext(stream)
    assert caught.value.reason is Reason.STORE_FULL
    check_kept(await everything(store), "")


async def test_a_failure_is_not_hidden_by_one_of_the_store(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    await store.create("c")
    text = "secret " * 150_000
    model = Model([STARTED, TextDelta(text)], failure=Unavailable(Reason.PROVIDER_STREAM_TRUNCATED, "gone"))
    async with aclosing(recorded(model, store)(says("q"))) as stream:
        await anext(stream)
        await store._writer.submit(lambda db: db.pragma("max_page_count", db.pragma("page_count") + 5))
        with pytest.raises(Unavailable) as caught:
            await anext(stream)
    assert caught.value.reason is Reason.PROVIDER_STREAM_TRUNCATED
    assert "STORE_FULL" in caplog.text
    assert "secret" not in caplog.text


async def test_there_is_room_for_the_reply_or_nobody_is_asked(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path, limits=Limits(conversation_messages=3))
    await store.create("c")
    model = Model([STARTED, finished(answer("r"))])
    await play(recorded(model, store), says("q"))
    with pytest.raises(InvalidRequest):
        await play(recorded(model, store), says("q2"))
    assert len(model.asked) == 1
    await store.close()
