"""A cache on disk: what it keeps, what it lets go, and that its file may be anything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from stepwired.providers.caching.memory import Keeper
from stepwired.store.keeper import FILE, DiskKeeper


@asynccontextmanager
async def opened(folder: Path, most_bytes: int = 1_000_000) -> AsyncGenerator[DiskKeeper]:
    keeper = DiskKeeper(folder, most_bytes)
    yield keeper
    await keeper.close()


async def test_what_was_kept_is_there_after_the_end_of_the_process(tmp_path: Path) -> None:
    async with opened(tmp_path) as keeper:
        kept: Keeper = keeper
        assert await kept.get([b"a"]) == {}
        await kept.put({b"a": b"1", b"b": b"\0" * 2000})
        await kept.put({b"a": b"1"})
    async with opened(tmp_path) as keeper:
        assert await keeper.get([b"b", b"c", b"a"]) == {b"a": b"1", b"b": b"\0" * 2000}
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


async def test_the_oldest_go_when_there_is_no_room(tmp_path: Path) -> None:
    async with opened(tmp_path, 256_000) as keeper:
        keys = [index.to_bytes(2, "big") for index in range(1000)]
        for start in range(0, 1000, 50):
            await keeper.put(dict.fromkeys(keys[start : start + 50], b"x" * 744))  # with its place, 1000 bytes
        left = await keeper.get(keys)
    assert set(left) == set(keys[-len(left) :])
    assert 150 < len(left) <= 256
    async with opened(tmp_path, 256_000) as keeper:  # it knows how full it is
        await keeper.put({b"new": b"x" * 744})
        await keeper.put({b"too large": b"x" * 256_000})
        assert set(await keeper.get([b"new", b"too large"])) == {b"new"}


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_a_file_that_is_none_of_ours_is_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    async with opened(tmp_path) as keeper:
        await keeper.put({b"a": b"1"})
        assert await keeper.get([b"a"]) == {b"a": b"1"}


async def test_a_file_of_another_format_is_emptied(tmp_path: Path) -> None:
    async with opened(tmp_path) as keeper:
        await keeper.put({b"a": b"1"})
    db = apsw.Connection(str(tmp_path / FILE))
    db.execute("PRAGMA user_version = 99")
    db.close()
    async with opened(tmp_path) as keeper:
        assert await keeper.get([b"a"]) == {}


async def test_a_disk_that_fails_is_a_miss_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with opened(tmp_path / "missing") as keeper:
            await keeper.put({b"a": b"secret text"})
            assert await keeper.get([b"a"]) == {}
    assert "cache on disk" in caplog.text
    assert "secret" not in caplog.text


async def test_a_caller_that_leaves_does_not_break_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as keeper:
        tasks = [asyncio.create_task(keeper.put({bytes([index]): b"1"})) for index in range(50)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.wait(tasks)
        assert len(await keeper.get(bytes([index]) for index in range(50))) >= 25
