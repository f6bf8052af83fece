"""No room: a clear refusal, nothing half done, reads go on, and writes come back with the room."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from stepwired.conversation import Conversation, MessageView
from stepwired.errors import Reason, Subject, Throttled
from stepwired.events import Image, Message
from stepwired.store.sqlite import SqliteStore
from tests.store.talk import check_whole, on_writer, read_changes, read_ids, said

TMPFS_BYTES = 4 * 1024 * 1024


class Disk(Protocol):
    """A disk that can be full."""

    folder: Path

    async def fill(self, store: SqliteStore) -> None:
        """Leave room for little."""

    async def free(self, store: SqliteStore) -> None:
        """Give the room back."""


class Pages:
    """SQLite's own limit: the database may have so many pages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def fill(self, store: SqliteStore) -> None:
        [(pages,)] = await on_writer(store, "PRAGMA page_count")
        await on_writer(store, f"PRAGMA max_page_count = {pages + 50}")

    async def free(self, store: SqliteStore) -> None:
        await on_writer(store, "PRAGMA max_page_count = 1000000")


class FileSize:
    """The process may not make files larger than this; Python ignores the signal, so that writes fail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def fill(self, store: SqliteStore) -> None:
        size = (self.folder / "stepwire.db-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 200_000, self._before[1]))

    async def free(self, store: SqliteStore | None = None) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


class Tmpfs:
    """A file system that really has no room left: something else takes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    async def fill(self, store: SqliteStore) -> None:
        free = os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_bsize
        self._ballast.write_bytes(b"x" * max(0, free - 200_000))

    async def free(self, store: SqliteStore) -> None:
        self._ballast.unlink()


@contextmanager
def mounted(folder: Path) -> Generator[None]:
    """A file system of 4 MiB on a folder; for root alone."""
    options = f"size={TMPFS_BYTES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # also if a test left a file open


def may_mount() -> bool:
    """Whether this process may mount: root usually, and not in every container."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        try:
            with mounted(Path(folder)):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


#: All ways that this machine allows.
WAYS = ["pages", "file size", *(["tmpfs"] if may_mount() else [])]


@pytest.fixture(params=WAYS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Disk]:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    if request.param == "pages":
        yield Pages(folder)
    elif request.param == "file size":
        limited = FileSize(folder)
        yield limited
        resource.setrlimit(resource.RLIMIT_FSIZE, limited._before)
    else:
        with mounted(folder):
            yield Tmpfs(folder)


async def append_until_full(store: SqliteStore, prefix: str) -> list[str]:
    """Append pairs of messages until one is refused; the ids that were acknowledged."""
    acked: list[str] = []
    for number in range(1000):
        pair = [f"{prefix}{number}a", f"{prefix}{number}b"]
        try:
            await store.append("c", [Message(text=f"fox {name} " + "x" * 10_000, id=name) for name in pair])
        except Throttled:
            return acked
        acked += pair
    raise AssertionError("the disk never was full")


async def test_a_full_disk_refuses_writes_and_keeps_what_there_is(disk: Disk) -> None:
    store = await SqliteStore.open(disk.folder)
    await store.create("c", messages=said("first"))
    kept = await store.put_blob(Image(media_type="image/png"), b"x" * 1000)
    for _ in range(2):  # it comes back, and can be full again
        before = await read_ids(store, "c", MessageView.ALL)
        await disk.fill(store)
        acked = await append_until_full(store, f"{len(before)}-")
        for call in (
            store.append("c", [Message(text="y" * 400_000)]),
            store.create("d", messages=[Message(text="y" * 400_000)]),
            store.import_(Conversation("d"), [Message(text="y" * 400_000)]),
            store.put_blob(Image(), os.urandom(600_000)),
        ):
            with pytest.raises(Throttled) as caught:
                await call
            assert (caught.value.reason, caught.value.subject) == (Reason.STORE_FULL, Subject("store", "conversations"))
        # Reads go on, and show each acknowledged pair and no half of another.
        assert await read_ids(store, "c", MessageView.ALL) == before + acked
        assert {hit.message_id for hit in (await store.search("fox", page_size=100))[0]} == set(before[1:] + acked)
        assert [one.id for one in (await store.list())[0]] == ["c"]
        assert (await store.blob(kept)).size_bytes == 1000
        revision = (await store.get("c")).revision
        assert len(await read_changes(store, "c", 0, revision)) == revision
        await disk.free(store)
        await store.append("c", [Message(text="fox " + "z" * 300_000, id=f"again{len(before)}")])
        await check_whole(store)
    await store.close()
    again = await SqliteStore.open(disk.folder)
    assert (await read_ids(again, "c", MessageView.ALL))[-1].startswith("again")
    await check_whole(again)
    await again.close()
