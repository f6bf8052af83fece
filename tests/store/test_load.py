from __future__ import annotations

import asyncio
import threading
import tracemalloc
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import apsw
import pytest

from stepwired.conversation import Conversation, MessageView
from stepwired.errors import NotFound, Reason, Throttled, Unavailable
from stepwired.events import Message
from stepwired.limits import Limits
from stepwired.store.sqlite import SqliteStore
from tests.store.asking import MIB, on_writer, read_ids, said


async def test_sixteen_writers_get_dense_revisions_and_every_read_sees_every_answered_append(
    store: SqliteStore,
) -> None:
    await store.create("c")
    answered: dict[str, int] = {}
    writing = True

    async def write(writer: int) -> None:
        for number in range(200):
            name = f"{writer}-{number}"
            after, _ = await store.append("c", said(name))
            answered[name] = after.revision

    async def read() -> None:
        while writing:
            before = set(answered)
            seen = await read_ids(store, "c", MessageView.ALL)
            assert before <= set(seen)

    reading = asyncio.create_task(read())
    await asyncio.gather(*(write(writer) for writer in range(16)))
    writing = False
    await reading
    order = await read_ids(store, "c")
    assert sorted(answered.values()) == list(range(2, 3202))
    assert [answered[name] for name in order] == list(range(2, 3202))
    for writer in range(16):
        assert [name for name in order if name.startswith(f"{writer}-")] == [f"{writer}-{n}" for n in range(200)]


@pytest.fixture
async def held(store: SqliteStore) -> AsyncGenerator[threading.Event]:
    """The writer waits for this event, so that what comes meanwhile forms one group."""
    release, entered = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait(_: apsw.Connection) -> None:
        loop.call_soon_threadsafe(entered.set)
        release.wait(30)

    await store.create("c")
    waiting = store._writer.submit(wait)
    await entered.wait()
    yield release
    release.set()
    await waiting


async def test_writes_that_wait_share_one_commit(store: SqliteStore) -> None:
    commits = 0

    def count() -> bool:
        nonlocal commits
        commits += 1
        return False

    await store.create("c")
    await store._writer.submit(lambda db: db.set_commit_hook(count))
    commits = 0
    release = threading.Event()
    waiting = store._writer.submit(lambda _: release.wait(30))
    appends = [asyncio.create_task(store.append("c", said(f"m{number}"))) for number in range(100)]
    await asyncio.sleep(0)  # each runs to its first wait, which is after it handed over
    release.set()
    await asyncio.gather(waiting, *appends)
    assert commits <= 2  # the one that was held, and one for all others
    assert await read_ids(store, "c") == [f"m{number}" for number in range(100)]


async def test_a_bad_write_fails_alone_among_those_it_shares_a_commit_with(
    store: SqliteStore, held: threading.Event
) -> None:
    calls: list[Coroutine[Any, Any, object]] = [
        store.append("c", said("a")),
        store.append("c", [*said("b"), Message(text="x", parent_id="nobody")]),
        store.append("no", said("x")),
        store.create("c"),
        store.append("c", said("z")),
    ]
    tasks = [asyncio.create_task(call) for call in calls]
    await asyncio.sleep(0)
    held.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [getattr(result, "reason", None) for result in results] == [
        None,
        Reason.MESSAGE_NOT_FOUND,
        Reason.CONVERSATION_NOT_FOUND,
        Reason.CONVERSATION_EXISTS,
        None,
    ]
    assert await read_ids(store, "c", MessageView.ALL) == ["a", "z"]


async def test_a_write_whose_caller_was_cancelled_while_waiting_is_done_whole(
    store: SqliteStore, held: threading.Event
) -> None:
    task = asyncio.create_task(store.append("c", said("a", "b", "c")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    held.set()
    await store.append("c", said("d"))
    assert await read_ids(store, "c") == ["a", "b", "c", "d"]


async def test_close_does_what_was_handed_over_and_then_refuses(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    await store.create("c")
    tasks = [asyncio.create_task(store.append("c", said(f"m{number}"))) for number in range(20)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*tasks)
    await store.close()
    for call in (store.get("c"), store.append("c", said("x"))):
        with pytest.raises(Unavailable) as caught:
            await call
        assert caught.value.reason is Reason.STORE_UNAVAILABLE
    again = await SqliteStore.open(tmp_path)
    assert (await again.get("c")).message_count == 20
    await again.close()


# --- long and slow ---


async def test_a_long_conversation_streams_in_bounded_memory(store: SqliteStore) -> None:
    await store.create("c")
    for _ in range(12):
        await store.append("c", [Message(text="x" * 2000) for _ in range(1000)])
    tracemalloc.start()
    count = 0
    async with aclosing(store.messages("c")) as pages:
        async for page in pages:
            count += len(page)
            assert sum(len(message.text) for message in page) <= Limits().stream_message_bytes
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 12_000
    assert peak < 4 * MIB, "24 MB of text went through"


async def test_a_stream_shows_the_conversation_as_it_was_when_it_began(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path, limits=Limits(stream_message_bytes=1))
    await store.create("c", messages=said("a", "b", "c"))
    for view in (MessageView.ALL, MessageView.HEAD_PATH, MessageView.LEFTMOST):
        expected = await read_ids(store, "c", view)
        async with aclosing(store.messages("c", view)) as pages:
            seen = [message.id for message in await anext(pages)]
            assert len(seen) == 1
            await store.append("c", [Message(text="branch", parent_id="a")])
            await store.append("c", [Message(text="on", parent_id="c")])
            seen += [message.id async for page in pages for message in page]
        assert seen == expected
    await store.close()


async def test_a_message_larger_than_a_page_travels_alone(store: SqliteStore) -> None:
    await store.create("c", messages=[Message(text="x" * MIB, id="big"), *said("a", "b")])
    async with aclosing(store.messages("c")) as pages:
        assert [[message.id for message in page] async for page in pages] == [["big"], ["a", "b"]]


async def test_the_wal_stays_bounded_while_a_reader_dawdles(store: SqliteStore, tmp_path: Path) -> None:
    await store.create("c", messages=[Message(text="x" * 60_000) for _ in range(3)])
    wal = tmp_path / "data" / "stepwire.db-wal"
    largest = 0
    async with aclosing(store.messages("c")) as pages:
        await anext(pages)
        for _ in range(100):
            await store.append("c", [Message(text="y" * MIB)])
            largest = max(largest, wal.stat().st_size)
        assert len([page async for page in pages]) == 2
    assert largest <= 64 * MIB


# --- a full disk ---


async def test_a_full_database_refuses_writes_whole_keeps_reading_and_recovers(store: SqliteStore) -> None:
    before, _ = await store.create("c", messages=said("a"))
    [(pages,)] = await on_writer(store, "PRAGMA page_count")
    await on_writer(store, f"PRAGMA max_page_count = {pages + 20}")
    with pytest.raises(Throttled) as caught:
        await store.append("c", [*said("b"), Message(text="x" * MIB)])
    assert caught.value.reason is Reason.STORE_FULL
    assert (await store.get("c"), await read_ids(store, "c", MessageView.ALL)) == (before, ["a"])
    await on_writer(store, "PRAGMA max_page_count = 1000000")
    await store.append("c", [*said("b"), Message(text="x" * MIB)])
    assert await on_writer(store, "PRAGMA integrity_check") == [("ok",)]


async def test_a_write_that_is_too_large_for_the_disk_fails_alone(store: SqliteStore, held: threading.Event) -> None:
    def shrink(db: apsw.Connection) -> None:
        db.pragma("max_page_count", db.pragma("page_count") + 20)

    shrunk = store._writer.submit(shrink)
    texts = ("small", "x" * MIB, "tiny")
    tasks = [asyncio.create_task(store.append("c", [Message(text=text)])) for text in texts]
    await asyncio.sleep(0)
    held.set()
    await shrunk
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [getattr(result, "reason", None) for result in results] == [None, Reason.STORE_FULL, None]
    assert isinstance(await store.get("c"), Conversation)
    assert (await store.get("c")).message_count == 2


async def test_a_stream_whose_conversation_is_deleted_meanwhile_ends_as_not_found(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path, limits=Limits(stream_message_bytes=1))
    await store.create("c", messages=said("a", "b", "c"))
    async with aclosing(store.messages("c")) as pages:
        await anext(pages)
        await on_writer(store, "DELETE FROM message")
        await on_writer(store, "DELETE FROM conversation")
        with pytest.raises(NotFound) as caught:
            await anext(pages)
    assert caught.value.reason is Reason.CONVERSATION_NOT_FOUND
    await store.close()
