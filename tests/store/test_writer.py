from __future__ import annotations

import asyncio
import resource
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from stepwired.errors import Conflict, Reason, Throttled, Unavailable
from stepwired.events import Message, Reasoning, Role, ToolResult, ToolUse
from stepwired.store import database
from stepwired.store import writer as writer_module
from stepwired.store.sqlite import SqliteStore
from stepwired.store.writer import Writer


class Disk(apsw.VFS):
    """A file system whose fsync fails as long as it is told to."""

    def __init__(self, name: str) -> None:
        self.fails = False
        self.on_sync: Callable[[], None] | None = None
        self.syncs = 0
        super().__init__(name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return DiskFile(self, name, flags)


class DiskFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self.disk = disk
        super().__init__("", name, flags)

    def xSync(self, flags: int) -> None:
        self.disk.syncs += 1
        if self.disk.fails:
            raise apsw.IOError
        if self.disk.on_sync is not None:
            self.disk.on_sync()
        super().xSync(flags)


async def hold(writer: Writer) -> tuple[threading.Event, asyncio.Future[object]]:
    """Keep the writer busy, so that what is handed over next waits together, until the event is set."""
    entered, release = threading.Event(), threading.Event()

    def wait(_: apsw.Connection) -> object:
        entered.set()
        return release.wait(30)

    held: asyncio.Future[object] = writer.submit(wait)
    await asyncio.to_thread(entered.wait, 30)
    return release, held


def insert(number: int) -> Any:
    return lambda db: db.execute("INSERT INTO t VALUES (?)", (number,)).fetchall()


async def test_after_a_failed_fsync_nothing_is_answered_or_written_any_more(tmp_path: Path) -> None:
    disk = Disk("failing")
    db = apsw.Connection(str(tmp_path / "file.db"), vfs="failing")
    db.execute("CREATE TABLE t (x)")
    writer = Writer(db, asyncio.get_running_loop())
    await writer.submit(insert(1))
    assert disk.syncs, "the disk is asked"
    disk.fails = True
    both = writer.submit(insert(2)), writer.submit(insert(3))
    for failed in both:
        with pytest.raises(Unavailable) as caught:
            await failed
        assert caught.value.reason is Reason.STORE_IO_ERROR
        assert not caught.value.is_transient
    disk.fails = False  # it must not matter: what the kernel dropped is gone
    with pytest.raises(Unavailable) as caught:
        await writer.submit(insert(4))
    assert caught.value.reason is Reason.STORE_IO_ERROR
    await writer.close()
    disk.unregister()
    plain = apsw.Connection(str(tmp_path / "file.db"))
    assert plain.execute("SELECT x FROM t").fetchall() == [(1,)]
    plain.close()


async def test_what_was_handed_over_while_the_disk_failed_is_not_written_either(tmp_path: Path) -> None:
    disk = Disk("failing once")
    db = apsw.Connection(str(tmp_path / "file.db"), vfs="failing once")
    db.pragma("journal_mode", "wal")
    db.pragma("synchronous", "FULL")
    db.execute("CREATE TABLE t (x)")
    writer = Writer(db, asyncio.get_running_loop())
    await writer.submit(insert(1))
    entered, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def fail_once() -> None:
        disk.on_sync = None
        loop.call_soon_threadsafe(entered.set)
        release.wait(30)
        raise apsw.IOError

    disk.on_sync = fail_once
    failing = writer.submit(insert(2))
    await entered.wait()
    queued = [writer.submit(insert(number)) for number in (3, 4)]
    closing = asyncio.create_task(writer.close())
    await asyncio.sleep(0)  # it runs to its first wait: closing must not make the failure forgotten
    release.set()
    for failed in (failing, *queued):
        with pytest.raises(Unavailable) as caught:
            await failed
        assert caught.value.reason is Reason.STORE_IO_ERROR
    await closing
    disk.unregister()
    plain = apsw.Connection(str(tmp_path / "file.db"))
    assert not {3, 4} & {x for (x,) in plain.execute("SELECT x FROM t").fetchall()}
    plain.close()


async def test_a_group_ends_at_the_write_that_finds_the_disk_failed(tmp_path: Path) -> None:
    db = apsw.Connection(str(tmp_path / "file.db"))
    db.execute("CREATE TABLE t (x)")
    writer = Writer(db, asyncio.get_running_loop())
    release = threading.Event()
    held = writer.submit(lambda _: release.wait(30))

    def fail(_: apsw.Connection) -> None:
        raise apsw.IOError

    def spoil(_: apsw.Connection) -> None:
        raise apsw.FullError  # so that each is tried by itself

    jobs = [writer.submit(insert(1)), writer.submit(spoil), writer.submit(fail), writer.submit(insert(2))]
    release.set()
    await held
    first, *others = await asyncio.gather(*jobs, return_exceptions=True)
    assert first == []
    assert [getattr(other, "reason", None) for other in others] == [
        Reason.STORE_FULL,
        Reason.STORE_IO_ERROR,
        Reason.STORE_IO_ERROR,
    ]
    await writer.close()


async def test_a_reader_that_stays_does_not_hold_up_the_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Emptying the WAL waits for readers: briefly, and not after every write."""
    monkeypatch.setattr(writer_module, "CHECKPOINT_PAGES", 8)
    monkeypatch.setattr(writer_module, "TRUNCATE_PAGES", 16)
    tried: list[tuple[int, int]] = []
    timeouts = [0]

    class Watched(apsw.Connection):
        def set_busy_timeout(self, milliseconds: int) -> None:
            timeouts.append(milliseconds)
            super().set_busy_timeout(milliseconds)

        def wal_checkpoint(self, dbname: str | None = None, mode: int = apsw.SQLITE_CHECKPOINT_PASSIVE) -> Any:
            tried.append((mode, timeouts[-1]))
            return super().wal_checkpoint(dbname, mode)

    db = Watched(str(tmp_path / "file.db"))
    db.set_busy_timeout(5000)
    db.pragma("journal_mode", "wal")
    db.wal_autocheckpoint(0)
    db.execute("CREATE TABLE t (x)")
    reader = apsw.Connection(str(tmp_path / "file.db"))
    reader.execute("BEGIN; SELECT * FROM t").fetchall()
    writer = Writer(db, asyncio.get_running_loop())
    for number in range(40):
        await writer.submit(insert(number))
    await writer.submit(lambda _: None)  # what followed the last answer is done
    emptied = [timeout for mode, timeout in tried if mode == apsw.SQLITE_CHECKPOINT_TRUNCATE]
    assert 2 <= len(emptied) <= 9
    assert max(emptied) <= 100
    assert timeouts[-1] == 5000
    reader.close()
    await writer.close()


async def test_no_room_that_shows_as_an_input_output_error_is_a_full_disk_and_passes(
    store: SqliteStore, tmp_path: Path
) -> None:
    await store.create("c")
    size = (tmp_path / "data" / "stepwire.db-wal").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100_000, hard))
    try:
        with pytest.raises(Throttled) as caught:
            await store.append("c", [Message(text="x" * 1_000_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.reason is Reason.STORE_FULL
    assert (await store.get("c")).message_count == 0
    after, _ = await store.append("c", [Message(text="x" * 1_000_000)])
    assert after.message_count == 1


async def test_a_lock_by_another_program_is_a_conflict_that_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 1)
    store = await SqliteStore.open(tmp_path)
    await store.create("c")
    other = apsw.Connection(str(tmp_path / "stepwire.db"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Conflict) as caught:
        await store.append("c", [Message(text="x")])
    assert caught.value.reason is Reason.STORE_CONFLICT
    assert caught.value.is_transient
    assert (await store.get("c")).message_count == 0
    other.close()
    after, _ = await store.append("c", [Message(text="x")])
    assert after.message_count == 1
    await store.close()


async def test_an_unexpected_error_reaches_its_caller_and_undoes_its_write(store: SqliteStore) -> None:
    await store.create("c")

    def half(db: apsw.Connection) -> None:
        db.execute("DELETE FROM conversation")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store._core.writer.submit(half)
    with pytest.raises(apsw.SQLError):
        await store._core.writer.submit(lambda db: db.execute("no such statement"))
    assert (await store.get("c")).id == "c"


async def test_a_write_that_is_wrong_itself_hears_that_and_not_what_befell_the_others(tmp_path: Path) -> None:
    db = apsw.Connection(str(tmp_path / "file.db"))
    db.execute("CREATE TABLE t (x)")
    writer = Writer(db, asyncio.get_running_loop())
    release, held = await hold(writer)

    def wrong(_: apsw.Connection) -> None:
        raise ZeroDivisionError

    def fail(_: apsw.Connection) -> None:
        raise apsw.IOError

    jobs = [writer.submit(wrong), writer.submit(insert(1)), writer.submit(fail)]
    release.set()
    await held
    first, *others = await asyncio.gather(*jobs, return_exceptions=True)
    assert isinstance(first, ZeroDivisionError)
    assert [getattr(other, "reason", None) for other in others] == [Reason.STORE_IO_ERROR] * 2
    await writer.close()


LONG = "x" * 100
CONTENTS = {
    "text": Message(text=LONG),
    "result": Message(role=Role.TOOL, tool_result=ToolResult("t", LONG)),
    "input": Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "n", {"deep": [{"a": LONG}]})),
    "reasoning": Message(role=Role.ASSISTANT, reasoning=Reasoning(LONG)),
    "metadata": Message(text="x", metadata={"a": LONG}),
}


@pytest.mark.parametrize("kind", CONTENTS)
async def test_a_transaction_ends_where_it_has_enough_content_of_any_kind(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(writer_module, "GROUP_BYTES", 300)
    await store.create("c")
    release, held = await hold(store._core.writer)
    commits = [0]

    def count() -> bool:
        commits[0] += 1
        return False

    counting = store._core.writer.submit(lambda db: db.set_commit_hook(count))
    appends = [
        asyncio.create_task(store.append("c", [CONTENTS[kind]], allow_orphan=True, keep_head=bool(number)))
        for number in range(12)
    ]
    updates = [asyncio.create_task(store.update("c", metadata={"a": LONG})) for _ in range(12)]
    await asyncio.sleep(0)  # they run to their first wait, and are handed over
    release.set()
    await asyncio.gather(held, counting, *appends, *updates)
    assert 8 <= commits[0] <= 9, "three to a transaction"
