from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from stepwired.errors import Broken, InvalidRequest, Reason, Throttled, Unavailable
from stepwired.events import (
    Batch,
    Json,
    Message,
    MessageStatus,
    ReasoningDelta,
    Role,
    TextDelta,
    ToolUse,
)
from stepwired.limits import Limits
from stepwired.store.replies import recorded
from stepwired.store.sqlite import SqliteStore
from tests.store.scripted import STARTED, Model, answer, everything, finished, play, says


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
        self, conversation_id: str, parent_id: str, messages: Sequence[Message], **more: Any
    ) -> tuple[tuple[Message, ...], bool]:
        self.log.append("stored")
        self.entered.set()
        return await super().append_reply(conversation_id, parent_id, messages, **more)


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
        await store._core.writer.submit(lambda db: db.pragma("max_page_count", db.pragma("page_count") + 5))
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
        await store._core.writer.submit(lambda db: db.pragma("max_page_count", db.pragma("page_count") + 5))
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


async def test_what_is_kept_of_an_interrupted_reply_is_no_larger_than_a_message_may_be(store: SqliteStore) -> None:
    await store.create("c")
    limits = Limits(message_text_bytes=1001)
    model = Model(
        [STARTED, *[TextDelta("\u00e4" * 300)] * 3], failure=Unavailable(Reason.PROVIDER_STREAM_TRUNCATED, "x")
    )
    with pytest.raises(Unavailable):
        await play(recorded(model, store, limits), says("q"))
    check_kept(await everything(store), "\u00e4" * 500)


async def test_a_reply_that_cannot_be_stored_is_the_models_fault_and_its_text_is_kept(store: SqliteStore) -> None:
    await store.create("c")
    deep: dict[str, Json] = {}
    for _ in range(60):
        deep = {"a": deep}
    use = Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "find", deep))
    model = Model([STARTED], [TextDelta("One"), finished(answer("One"), use)])
    with pytest.raises(Broken) as caught:
        await play(recorded(model, store), says("q"))
    assert caught.value.reason is Reason.PROVIDER_PROTOCOL_ERROR
    check_kept(await everything(store), "One")
    await play(recorded(Model([STARTED, finished(answer("r"))]), store), says("the conversation goes on"))
