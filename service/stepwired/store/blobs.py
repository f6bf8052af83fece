"""Keeps pictures once each, under the hash of their bytes, as long as a message shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import apsw

from stepwired.events import Image, Message
from stepwired.store.nouns import KEEP_BLOB_S
from stepwired.store.refusals import blob_not_found

CHUNK_BYTES = 64 * 1024
PART_BYTES = 16 * CHUNK_BYTES
"""What one transaction takes: a large upload delays other writes, and fills the WAL, by no more than this."""

_SHIFT = 16
_PREFIX = "sha256:"

#: Blobs that one sweep looks at, and bytes of them that it removes, at most: 1,280 chunks.
_SWEPT, _SWEPT_BYTES = 1000, 80 * 1024 * 1024


def blob_id(digest: bytes) -> str:
    """Write the SHA-256 of a blob's bytes as its id."""
    return _PREFIX + digest.hex()


def begin(db: apsw.Connection, digest: bytes, image: Image, size_bytes: int, now_s: int) -> int:
    """Make room for a blob; the key to give to `add_chunks` and `finish`, or 0 if it is there already."""
    if _keep_longer(db, digest, now_s):
        return 0
    db.execute(
        "INSERT INTO blob (media_type, width, height, size_bytes, until_s) VALUES (?, ?, ?, ?, ?)",
        (image.media_type, image.width, image.height, size_bytes, now_s + KEEP_BLOB_S),
    )
    return db.last_insert_rowid()


def add_chunks(db: apsw.Connection, key: int, at: int, part: bytes) -> None:
    """Store the bytes from `at` on, a multiple of CHUNK_BYTES."""
    first = at // CHUNK_BYTES
    chunks = (part[start : start + CHUNK_BYTES] for start in range(0, len(part), CHUNK_BYTES))
    rows = [(key << _SHIFT | first + number, chunk) for number, chunk in enumerate(chunks)]
    db.executemany("INSERT INTO blob_chunk (key, data) VALUES (?, ?)", rows)


def finish(db: apsw.Connection, key: int, digest: bytes, now_s: int) -> None:
    """Make a blob visible, all of whose bytes are there. If another upload was faster, that one stays."""
    if _keep_longer(db, digest, now_s):
        remove(db, [key])
    else:
        db.execute("UPDATE blob SET digest = ? WHERE key = ?", (digest, key))


def describe(db: apsw.Connection, blob_id_: str) -> tuple[int, Image]:
    """Find a blob: its key, and what is known of it.

    Raises:
        NotFound: BLOB_NOT_FOUND.
    """
    try:
        digest = bytes.fromhex(blob_id_.removeprefix(_PREFIX))
    except ValueError:
        raise blob_not_found(blob_id_) from None
    sql = "SELECT key, media_type, width, height, size_bytes FROM blob WHERE digest = ?"
    row = db.execute(sql, (digest,)).fetchone()
    if row is None or blob_id(digest) != blob_id_:
        raise blob_not_found(blob_id_)
    key, media_type, width, height, size_bytes = row
    return key, Image(blob_id=blob_id_, media_type=media_type, width=width, height=height, size_bytes=size_bytes)


def read_chunk(db: apsw.Connection, key: int, number: int) -> bytes | None:
    """Read one chunk; None if it was removed."""
    row: tuple[bytes] | None = db.execute(
        "SELECT data FROM blob_chunk WHERE key = ?", (key << _SHIFT | number,)
    ).fetchone()
    return row[0] if row else None


def resolve(db: apsw.Connection, message: Message) -> tuple[Message, set[int]]:
    """Fill in what is known of the pictures that a message shows; the keys of their blobs beside it.

    Raises:
        NotFound: BLOB_NOT_FOUND.
    """
    images: list[Image] = []
    keys: set[int] = set()
    for image in message.images:
        if image.blob_id:
            key, known = describe(db, image.blob_id)
            keys.add(key)
            images.append(replace(known, name=image.name, detail=image.detail))
        else:
            images.append(image)
    return replace(message, images=tuple(images)), keys


def release(db: apsw.Connection, first: int, last: int) -> None:
    """Let go of what messages show. Blobs that nothing shows any more go in sweeps, each a bounded part of them."""
    values = (first, last)
    shown = [key for (key,) in db.execute("SELECT DISTINCT blob FROM blob_use WHERE message BETWEEN ? AND ?", values)]
    if shown:
        db.execute("DELETE FROM blob_use WHERE message BETWEEN ? AND ?", values)
        sql = (
            "UPDATE blob SET until_s = 0 WHERE key = ? AND until_s IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM blob_use WHERE blob = key)"
        )
        db.executemany(sql, [(key,) for key in shown])


def sweep(db: apsw.Connection, now_s: int) -> bool:
    """Remove what was uploaded long enough ago and is shown nowhere, a bounded part at a time; whether that was all."""
    sql = (
        "SELECT key, size_bytes, EXISTS (SELECT 1 FROM blob_use WHERE blob = key) FROM blob"
        " WHERE until_s < ? ORDER BY until_s LIMIT ?"
    )
    due: list[Any] = db.execute(sql, (now_s, _SWEPT)).fetchall()
    is_done = len(due) < _SWEPT
    shown: list[tuple[int]] = []
    gone: list[int] = []
    removed_bytes = 0
    for key, size_bytes, is_shown in due:
        if is_shown:
            shown.append((key,))
        elif gone and removed_bytes + size_bytes > _SWEPT_BYTES:
            is_done = False
            break
        else:
            gone.append(key)
            removed_bytes += size_bytes
    db.executemany("UPDATE blob SET until_s = NULL WHERE key = ?", shown)
    remove(db, gone)
    return is_done


def remove(db: apsw.Connection, keys: Sequence[int]) -> None:
    """Remove blobs that nothing shows."""
    ranges = [(key << _SHIFT, (key + 1 << _SHIFT) - 1) for key in keys]
    db.executemany("DELETE FROM blob_chunk WHERE key BETWEEN ? AND ?", ranges)
    db.executemany("DELETE FROM blob WHERE key = ?", [(key,) for key in keys])


def _keep_longer(db: apsw.Connection, digest: bytes, now_s: int) -> bool:
    db.execute("UPDATE blob SET until_s = ? WHERE digest = ?", (now_s + KEEP_BLOB_S, digest))
    return db.changes() > 0
