"""What the store costs, told by `make soak`. Only memory is bounded here: how fast a machine is, is its own affair."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path

import apsw
import pytest

from stepwired.conversation import MessageView
from stepwired.events import Message
from stepwired.store.sqlite import SqliteStore

MIB = 1024 * 1024
LONG = 100_000
TEXT = "Twelve words of some text that is about as long as others are. " * 4


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "data")
    yield opened
    await opened.close()


def tell(text: str) -> None:
    print(f"\n{text}", end="")


async def timed(call: Awaitable[object]) -> float:
    begun_s = time.monotonic()
    await call
    return time.monotonic() - begun_s


async def append(store: SqliteStore, writers: int, each: int) -> float:
    """Appends a second, each of one message, acknowledged after its fsync."""

    async def write() -> None:
        for _ in range(each):
            await store.append("c", [Message(text=TEXT)])

    return writers * each / await timed(asyncio.gather(*(write() for _ in range(writers))))


async def fill(store: SqliteStore, name: str, count: int) -> None:
    await store.create(name)
    for _ in range(count // 1000):
        await store.append(name, [Message(text=TEXT)] * 1000)


async def test_appends_a_second(store: SqliteStore) -> None:
    await store.create("c")
    alone, eight, many = [await append(store, writers, 1600 // writers) for writers in (1, 8, 64)]
    tell(f"appends a second, with fsync: {alone:.0f} alone, {eight:.0f} by 8 writers, {many:.0f} by 64")
    assert (await store.get("c")).message_count == 3 * 1600


@pytest.mark.timeout(300)
async def test_a_hundred_thousand_messages_stream_in_bounded_memory(store: SqliteStore) -> None:
    took_s = await timed(fill(store, "c", LONG))
    tell(f"{LONG} messages appended by 1,000 in {took_s:.1f} s")
    for view in (MessageView.HEAD_PATH, MessageView.ALL):
        tracemalloc.start()
        count = longest = 0
        begun_s = time.monotonic()
        async with aclosing(store.messages("c", view)) as pages:
            async for page in pages:
                count += len(page)
                longest = max(longest, len(page))
        took_s = time.monotonic() - begun_s
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == LONG
        assert peak < 4 * MIB
        tell(f"{view.value}: streamed, traced, in {took_s:.1f} s; most memory {peak / MIB:.2f} MiB")


@pytest.mark.timeout(300)
async def test_an_append_costs_the_same_however_long_the_conversation_is(tmp_path: Path) -> None:
    taken: list[int] = []
    for count in (1000, 30_000):
        store = await SqliteStore.open(tmp_path / str(count), durability="relaxed")
        await fill(store, "c", count)
        steps = 0

        def step() -> bool:
            nonlocal steps
            steps += 10
            return False

        await store._core.writer.submit(partial(apsw.Connection.set_progress_handler, callable=step, nsteps=10))
        for number in range(50):
            await store.append("c", [Message(text=TEXT, id=f"x{number}")], if_revision=count + 1 + number)
        tell(f"an append to {count} messages: {steps // 50} steps of SQLite's machine")
        taken.append(steps)
        await store.close()
    assert taken[1] < 2 * taken[0]


@pytest.mark.timeout(300)
async def test_what_whole_conversations_cost(store: SqliteStore) -> None:
    await fill(store, "c", LONG)
    messages = [message async for page in store.messages("c") for message in page]
    tell(f"{LONG} messages: fork {await timed(store.fork('c', new_id='d')):.2f} s")
    conversation = replace(await store.get("c"), id="e")
    tell(f"import {await timed(store.import_(conversation, messages)):.2f} s")
    tell(f"delete {await timed(store.delete('d')):.2f} s")
    tell(f"search among {2 * LONG}, all of which match: {await timed(store.search('twelve words')):.2f} s")
    tell(f"search for what is there once: {await timed(store.search('nowhere')):.3f} s")
