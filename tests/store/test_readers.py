from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import apsw
import pytest

from stepwired.errors import Reason, Unavailable
from stepwired.events import Message
from stepwired.store import core, readers
from stepwired.store.sqlite import SqliteStore

SLOW = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


async def test_slow_searches_leave_the_other_reads_alone_and_do_not_hold_up_the_close(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    await store.create("c")
    slow = [
        asyncio.create_task(store._core.searchers.read(lambda db: db.execute(SLOW).fetchall()))
        for _ in range(core.SEARCHERS * 3)
    ]
    async with asyncio.timeout(30):
        for _ in range(20):
            assert (await store.get("c")).id == "c"
        assert not any(task.done() for task in slow)
        await store.close()
    for outcome in await asyncio.gather(*slow, return_exceptions=True):
        assert isinstance(outcome, Unavailable)
        assert outcome.reason is Reason.STORE_UNAVAILABLE


async def test_a_read_whose_caller_is_gone_frees_its_thread(store: SqliteStore) -> None:
    await store.create("c", messages=[Message(text="fox", id="m")])
    running = threading.Semaphore(0)

    def work(db: apsw.Connection) -> object:
        running.release()
        return db.execute(SLOW).fetchall()

    slow = [asyncio.create_task(store._core.searchers.read(work)) for _ in range(core.SEARCHERS)]
    async with asyncio.timeout(4):  # less than it takes until they are given up anyway
        for _ in slow:
            await asyncio.to_thread(running.acquire)
        for task in slow:
            task.cancel()
        await asyncio.wait(slow)
        assert len((await store.search("fox"))[0]) == 1


async def test_a_read_that_takes_too_long_is_given_up_and_the_next_one_is_not(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.create("c", messages=[Message(text="fox " * 100, id="m")])
    monkeypatch.setattr(readers, "READ_S", 0.0)
    for reading in (
        store._core.readers.read(lambda db: db.execute(SLOW).fetchall()),
        store._core.readers.read(in_one_moment),
        store.search("fox"),
    ):
        with pytest.raises(Unavailable) as caught:
            await reading
        assert (caught.value.reason, caught.value.is_transient) == (Reason.STORE_UNAVAILABLE, True)
    monkeypatch.undo()
    for _ in range(core.READERS * 2):
        assert (await store.get("c")).message_count == 1
    assert len((await store.search("fox"))[0]) == 1


def in_one_moment(db: apsw.Connection) -> object:
    with readers.one_moment(db):
        return db.execute(SLOW).fetchall()
