"""Pipelines in SQLite: saved under a version, found, listed, removed."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import apsw

from stepwired import versions
from stepwired.store.codec import pipelines as codec
from stepwired.store.nouns import KeptPipeline
from stepwired.store.refusals import no_version_left, pipeline_exists, pipeline_not_found

#: What of all pipelines is read at once.
PAGE_BYTES = 4 * 1024 * 1024

_FACTS = "name, version, create_time_us, facts"
_WHOLE = f"{_FACTS}, steps"


def save(db: apsw.Connection, name: str, version: str, content: bytes, now_ns: int) -> KeptPipeline:
    """Keep a version; see `parts.Pipelines.save_pipeline`."""
    digest = codec.digest(content)
    there = _find(db, f"{_WHOLE}, digest", name, version)
    if there is not None:
        *whole, digest_there = there
        if digest_there == digest:
            return _pipeline(*whole)
        if version:
            raise pipeline_exists(name, version)
        following = versions.following(there[1])
        if following is None:
            raise no_version_left(name, there[1])
        version = following
    version = version or versions.FIRST
    made = codec.encode(content, name, version, now_ns)
    row = (name, versions.rank(version), version, digest, now_ns // 1000, made.facts, made.steps)
    db.execute(
        "INSERT INTO pipeline (name, rank, version, digest, create_time_us, facts, steps) VALUES (?, ?, ?, ?, ?, ?, ?)",
        row,
    )
    return KeptPipeline(name, version, now_ns, made.facts + made.steps)


def find(db: apsw.Connection, name: str, version: str) -> KeptPipeline:
    """Read a version, or the highest.

    Raises:
        NotFound: PIPELINE_NOT_FOUND.
    """
    found = _find(db, _WHOLE, name, version)
    if found is None:
        raise pipeline_not_found(name, version)
    return _pipeline(*found)


def read_list(
    db: apsw.Connection, *, name: str, page_size: int, page_bytes: int, after: str
) -> tuple[list[KeptPipeline], str]:
    """Read a page of the highest versions, or of the versions of one, and where it ends; empty after the last."""
    if name:
        where, order = "name = ?", "rank DESC"
        values: list[str | bytes | int] = [name]
        if after:
            where += " AND rank < ?"
            values.append(versions.rank(after))
    else:
        where = "name > ? AND rank = (SELECT max(rank) FROM pipeline AS other WHERE other.name = pipeline.name)"
        order = "name"
        values = [after]
    found: list[KeptPipeline] = []
    size_bytes = 0
    sql = f"SELECT {_FACTS} FROM pipeline WHERE {where} ORDER BY {order} LIMIT ?"  # noqa: S608
    with closing(db.execute(sql, [*values, page_size + 1])) as rows:
        for row in rows:
            each = _pipeline(*row)
            size_bytes += len(each.body)
            if len(found) == page_size or (found and size_bytes > page_bytes):
                return found, found[-1].version if name else found[-1].name
            found.append(each)
    return found, ""


def read_whole(db: apsw.Connection, after: KeptPipeline | None) -> list[KeptPipeline]:
    """Read pipelines with all they have, by name and version, from behind one; none after the last."""
    found: list[KeptPipeline] = []
    size_bytes = 0
    position = (after.name, versions.rank(after.version)) if after else ("", b"")
    sql = f"SELECT {_WHOLE} FROM pipeline WHERE (name, rank) > (?, ?) ORDER BY name, rank"  # noqa: S608
    with closing(db.execute(sql, position)) as rows:
        for row in rows:
            found.append(_pipeline(*row))
            size_bytes += len(found[-1].body)
            if size_bytes > PAGE_BYTES:
                break
    return found


def delete(db: apsw.Connection, name: str, version: str) -> list[str]:
    """Remove a version, or all; those that are gone, the lowest first.

    Raises:
        NotFound: PIPELINE_NOT_FOUND.
    """
    where, values = "name = ?", [name]
    if version:
        where += " AND version = ?"
        values.append(version)
    gone: list[Any] = db.execute(f"DELETE FROM pipeline WHERE {where} RETURNING version", values).fetchall()  # noqa: S608
    if not gone:
        raise pipeline_not_found(name, version)
    return sorted((row[0] for row in gone), key=versions.rank)


def _find(db: apsw.Connection, columns: str, name: str, version: str) -> Any:
    """A row of a version, or of the highest; None if there is none."""
    if version:
        sql = f"SELECT {columns} FROM pipeline WHERE name = ? AND rank = ?"  # noqa: S608
        return db.execute(sql, (name, versions.rank(version))).fetchone()
    sql = f"SELECT {columns} FROM pipeline WHERE name = ? ORDER BY rank DESC LIMIT 1"  # noqa: S608
    return db.execute(sql, (name,)).fetchone()


def _pipeline(name: str, version: str, create_time_us: int, facts: bytes, steps: bytes = b"") -> KeptPipeline:
    return KeptPipeline(name, version, create_time_us * 1000, facts + steps)
