"""Long conversations cost no more memory to read, and no more work to append to, than short ones."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from pathlib import Path

import apsw
import pytest

from stepwired.conversation import MessageView
from stepwired.events import Message
from stepwired.store.sqlite import SqliteStore
from tests.soak.figures import LONG, TEXT, fill

MIB = 1024 * 1024


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "data")
    yield opened
    await opened.close()


def tell(text: str) -> None:
    print(f"\n{text}", end="")


@pytest.mark.timeout(300)
async def test_a_hundred_thousand_messages_stream_in_bounded_memory(store: SqliteStore) -> None:
    await fill(store, "c", LONG)
    for view in (MessageView.HEAD_PATH, MessageView.ALL):
        tracemalloc.start()
        count = 0
        async with aclosing(store.messages("c", view)) as pages:
            async for page in pages:
                count += len(page)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == LONG
        assert peak < 4 * MIB
        tell(f"{view.value}: most memory {peak / MIB:.2f} MiB")


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
