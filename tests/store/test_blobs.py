from __future__ import annotations

import asyncio
import hashlib
import random
import threading
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from stepwired.conversation import Conversation
from stepwired.errors import NotFound, Reason, Throttled
from stepwired.events import Image, Message
from stepwired.store import blobs
from stepwired.store.answers import SWEEP_S
from stepwired.store.nouns import KEEP_BLOB_S
from stepwired.store.sqlite import SqliteStore
from tests.store.talk import count_rows, on_writer, said

PNG = Image(media_type="image/png", width=3, height=2)
CHUNK = blobs.CHUNK_BYTES


async def read(store: SqliteStore, blob_id: str) -> bytes:
    async with aclosing(store.blob_chunks(blob_id)) as chunks:
        found = [chunk async for chunk in chunks]
    assert all(0 < len(chunk) <= CHUNK for chunk in found)
    return b"".join(found)


async def rows(store: SqliteStore) -> tuple[int, int]:
    [found] = await on_writer(store, "SELECT (SELECT count(*) FROM blob), (SELECT count(*) FROM blob_chunk)")
    return found[0], found[1]


def shows(blob_id: str, name: str = "m") -> Message:
    return Message(text="look", id=name, images=(Image(blob_id=blob_id, name="n", detail="low"),))


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, blobs.PART_BYTES, blobs.PART_BYTES + 1, 20 * 1024 * 1024]
)
async def test_bytes_come_back_as_they_were_under_their_hash(store: SqliteStore, size: int) -> None:
    data = random.Random(size).randbytes(size)
    blob_id = await store.put_blob(PNG, data)
    assert blob_id == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert await store.blob(blob_id) == replace(PNG, blob_id=blob_id, size_bytes=size)
    assert await read(store, blob_id) == data


async def test_equal_bytes_are_kept_once_also_when_they_come_at_once(store: SqliteStore) -> None:
    data = b"x" * (blobs.PART_BYTES * 2)
    ids = await asyncio.gather(*(store.put_blob(PNG, data) for _ in range(5)))
    assert len({*ids, await store.put_blob(PNG, data)}) == 1
    assert await rows(store) == (1, len(data) // CHUNK)
    assert await read(store, ids[0]) == data


@pytest.mark.parametrize(
    "blob_id", ["", "sha256:", "x", "sha256:" + "0" * 64, "md5:" + "0" * 64, "0" * 64, "sha256:zz"]
)
async def test_an_unknown_blob_is_not_found_by_any_call(store: SqliteStore, blob_id: str) -> None:
    known = await store.put_blob(PNG, b"x")
    await store.create("c")
    calls = [store.blob(blob_id), read(store, blob_id), store.blob(known.replace("sha256:", ""))]
    if blob_id:
        calls += [
            store.append("c", [*said("a"), shows(blob_id)]),
            store.create("d", messages=[shows(blob_id)]),
            store.import_(Conversation("e"), [shows(blob_id)]),
            store.begin_reply("c", [shows(blob_id)]),
        ]
    for call in calls:
        with pytest.raises(NotFound) as caught:
            await call
        assert caught.value.reason is Reason.BLOB_NOT_FOUND
    assert (await store.get("c")).revision == 1


async def test_a_message_shows_what_is_known_of_its_pictures(store: SqliteStore) -> None:
    blob_id = await store.put_blob(PNG, b"x")
    link = Image(uri="https://example.com/a.png", media_type="image/png", name="far", detail="high")
    message = Message(id="m", images=(Image(blob_id=blob_id, name="n", media_type="a lie", width=9), link))
    await store.create("c", messages=[message])
    stored = await store.message("c", "m")
    assert stored.images == (replace(PNG, blob_id=blob_id, name="n", size_bytes=1), link)
    _, ids = await store.append("c", [message])
    assert ids == ("m",), "the same picture, so the same message"
    assert (await store.get("c")).message_count == 1


async def test_bytes_and_paths_are_none_of_a_stores_business(store: SqliteStore) -> None:
    await store.create("c")
    for image in (Image(data=b"x"), Image(server_path="/x")):
        with pytest.raises(ValueError, match="blob_id"):
            await store.append("c", [Message(images=(image,))])
    assert (await store.get("c")).revision == 1


async def test_blobs_stay_as_long_as_a_message_of_any_conversation_shows_them(tmp_path: Path) -> None:
    now = [0.0]
    store = await SqliteStore.open(tmp_path, monotonic_s=lambda: now[0], durability="relaxed")
    blob_id = await store.put_blob(PNG, b"x" * CHUNK * 3)
    await store.create("c", messages=[shows(blob_id), shows(blob_id, "again")])
    await store.fork("c", new_id="d")
    await store.create("e", messages=[shows(blob_id)])
    now[0] += KEEP_BLOB_S + SWEEP_S
    for name in ("c", "e"):
        await store.delete(name)
        assert len(await read(store, blob_id)) == CHUNK * 3
    await store.delete("d")  # after a day, and nothing shows it any more
    now[0] += SWEEP_S
    await store.create("f")
    with pytest.raises(NotFound):
        await store.blob(blob_id)
    assert await rows(store) == (0, 0)
    assert (await count_rows(store))["blob_use"] == 0
    await store.close()


async def kept(store: SqliteStore) -> int:
    """How many blobs there are. Reads alone: it sweeps nothing."""
    return await store._core.readers.read(lambda db: len(db.execute("SELECT 1 FROM blob").fetchall()))


async def test_each_write_sweeps_a_part_until_nothing_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "_SWEPT_BYTES", 3000)
    monkeypatch.setattr(blobs, "_SWEPT", 10)
    now = [0.0]
    store = await SqliteStore.open(tmp_path, monotonic_s=lambda: now[0], durability="relaxed")
    shown = [await store.put_blob(PNG, b"%d" % number) for number in range(25)]
    await store.create("c", messages=[shows(blob_id, blob_id) for blob_id in shown])
    for number in range(8):
        await store.put_blob(PNG, b"%d" % number * 1000)
    await store.put_blob(PNG, b"x" * 5000)
    now[0] += KEEP_BLOB_S + SWEEP_S + 1
    counts = []
    for _ in range(8):
        await store.append("c", said("x"))
        counts.append(await kept(store))
    assert counts == [34, 34, 31, 28, 26, 25, 25, 25], "of those that are shown ten a time, of others 3000 bytes"
    now[0] += SWEEP_S
    await store.delete("c")
    counts = [await kept(store)]
    for number in range(2):
        await store.create(f"d{number}")
        counts.append(await kept(store))
    assert counts == [15, 5, 0], "nothing shows them any more: not even the deletion removes all at once"
    assert await rows(store) == (0, 0)
    await store.close()


async def test_a_blob_that_nothing_shows_is_kept_for_a_day_after_its_last_upload(tmp_path: Path) -> None:
    now = [0.0]
    store = await SqliteStore.open(tmp_path, monotonic_s=lambda: now[0], durability="relaxed")
    blob_id = await store.put_blob(PNG, b"x")
    shown = await store.put_blob(PNG, b"shown")
    await store.create("c", messages=[shows(shown)])
    now[0] += KEEP_BLOB_S / 2
    assert await store.put_blob(PNG, b"x") == blob_id
    await store.delete("c")
    assert (await store.blob(shown)).blob_id == shown, "its uploader may yet use it"
    now[0] += KEEP_BLOB_S / 2 + SWEEP_S
    await store.create("d")
    assert (await store.blob(blob_id)).blob_id == blob_id
    with pytest.raises(NotFound):
        await store.blob(shown)
    now[0] += KEEP_BLOB_S / 2
    await store.create("e")
    with pytest.raises(NotFound):
        await store.blob(blob_id)
    await store.close()


async def test_an_upload_that_was_left_is_never_seen_and_swept_up(tmp_path: Path) -> None:
    now = [0.0]
    store = await SqliteStore.open(tmp_path, monotonic_s=lambda: now[0], durability="relaxed")
    data = b"x" * blobs.PART_BYTES * 4
    release, entered = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    putting = asyncio.create_task(store.put_blob(PNG, data))
    while (await rows(store))[1] == 0:
        pass

    def wait(_: object) -> None:
        loop.call_soon_threadsafe(entered.set)
        release.wait(30)

    waiting = store._core.writer.submit(wait)
    await entered.wait()
    putting.cancel()
    await asyncio.wait([putting])
    release.set()
    await waiting
    assert putting.cancelled()
    with pytest.raises(NotFound):
        await store.blob(f"sha256:{hashlib.sha256(data).hexdigest()}")
    now[0] += KEEP_BLOB_S + SWEEP_S
    await store.create("c")
    assert await rows(store) == (0, 0)
    await store.close()


async def test_an_upload_that_finds_the_disk_full_leaves_nothing(store: SqliteStore) -> None:
    [(pages,)] = await on_writer(store, "PRAGMA page_count")
    await on_writer(store, f"PRAGMA max_page_count = {pages + 600}")
    with pytest.raises(Throttled) as caught:
        await store.put_blob(PNG, b"x" * 8 * 1024 * 1024)
    assert caught.value.reason is Reason.STORE_FULL
    assert await rows(store) == (0, 0)


async def test_reading_ends_as_not_found_when_the_blob_goes_meanwhile(tmp_path: Path) -> None:
    now = [0.0]
    store = await SqliteStore.open(tmp_path, monotonic_s=lambda: now[0])
    blob_id = await store.put_blob(PNG, b"x" * CHUNK * 2)
    async with aclosing(store.blob_chunks(blob_id)) as chunks:
        await anext(chunks)
        now[0] += KEEP_BLOB_S + SWEEP_S
        await store.create("c")
        with pytest.raises(NotFound):
            await anext(chunks)
    await store.close()


async def test_other_writes_go_on_between_the_parts_of_an_upload(store: SqliteStore) -> None:
    await store.create("c")
    putting = asyncio.create_task(store.put_blob(PNG, b"x" * 20 * 1024 * 1024))
    meanwhile = 0
    while not putting.done():
        await store.append("c", [Message(text="x")])
        meanwhile += 1
    await putting
    assert meanwhile > 20, "one for each part"
