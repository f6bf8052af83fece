"""Files that are damaged, before they are opened or since: called corrupt, and only the call that met it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import apsw
import pytest

from stepwired.errors import Broken, Reason
from stepwired.events import Message
from stepwired.store.core import READERS
from stepwired.store.sqlite import SqliteStore


async def test_a_file_that_is_no_database_is_called_corrupt_and_left_alone(tmp_path: Path) -> None:
    garbage = b"no database at all " * 1000
    (tmp_path / "stepwire.db").write_bytes(garbage)
    with pytest.raises(Broken) as caught:
        await SqliteStore.open(tmp_path)
    assert caught.value.reason is Reason.STORE_CORRUPT
    assert (tmp_path / "stepwire.db").read_bytes() == garbage


async def read_all(store: SqliteStore) -> None:
    async with aclosing(store.messages("c")) as pages:
        async for _ in pages:
            pass


def spoil_texts(body: bytes) -> bytes:
    """Make messages that are none: their text is no UTF-8 any more. SQLite does not notice."""
    return body.replace(b"y" * 500, b"\xff" * 500)


def spoil_pages(body: bytes) -> bytes:
    """Overwrite pages, which SQLite notices."""
    return body[: len(body) // 2] + b"\xff" * (len(body) - len(body) // 2)


@pytest.mark.parametrize("spoil", [spoil_texts, spoil_pages])
async def test_damage_that_shows_while_reading_is_called_corrupt_and_ends_that_call_alone(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    store = await SqliteStore.open(tmp_path)
    whole, _ = await store.create("whole", messages=[Message(text="x")])
    await store.create("c", messages=[Message(text="y" * 2000) for _ in range(100)])
    await store.close()
    path = tmp_path / "stepwire.db"
    body = path.read_bytes()
    assert spoil(body) != body
    path.write_bytes(spoil(body))
    store = await SqliteStore.open(tmp_path)
    with pytest.raises(Broken) as caught:
        await read_all(store)
    assert caught.value.reason is Reason.STORE_CORRUPT
    assert (await store.append("whole", []))[0].revision == whole.revision
    await store.close()


async def test_a_failed_read_keeps_no_reader_on_an_old_state(store: SqliteStore) -> None:
    """However long somebody keeps its exception, whose traceback keeps what the read was doing."""
    await store.create("c", messages=[Message(text="x", id=name) for name in ("a", "b", "c")])
    await store._core.writer.submit(
        lambda db: db.execute("UPDATE message SET body = x'ff' WHERE id IN ('b', 'c')").fetchall()
    )

    def fail_halfway(db: apsw.Connection) -> None:
        for _ in db.execute("SELECT id FROM message"):
            raise ZeroDivisionError

    kept: list[Exception] = []
    for number in range(2 * READERS):
        with pytest.raises(Broken) as caught:
            await read_all(store)
        kept.append(caught.value)
        with pytest.raises(ZeroDivisionError) as other:
            await store._core.readers.read(fail_halfway)
        kept.append(other.value)
        await store.create(f"new{number}")
        for _ in range(2 * READERS):
            assert (await store.get(f"new{number}")).id == f"new{number}"
    states = await asyncio.gather(*(store._core.readers.read(lambda db: db.txn_state()) for _ in range(READERS)))
    assert set(states) == {apsw.SQLITE_TXN_NONE}
    assert kept
