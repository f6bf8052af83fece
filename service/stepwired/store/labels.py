"""Lists conversations, and keeps the index by which their labels are found."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import apsw

from stepwired.conversation import Conversation
from stepwired.events import Json
from stepwired.store import codec
from stepwired.store.functions import label_hash, label_hashes
from stepwired.store.nouns import ListOrder
from stepwired.store.refusals import bad_position

#: What a listed conversation takes beside its stored bytes and its head's id, at most.
_ENVELOPE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Query:
    """What to list; see `parts.Index.list`."""

    page_size: int
    page_bytes: int
    after: str
    labels: Mapping[str, str]
    create_from_ns: int | None
    create_before_ns: int | None
    update_from_ns: int | None
    order: ListOrder


def add_labels(db: apsw.Connection, key: int, create_time_us: int, metadata: Mapping[str, Json]) -> None:
    """Make a conversation findable by the labels in its metadata."""
    rows = [(number, create_time_us, key) for number in label_hashes(metadata)]
    db.executemany("INSERT INTO label (hash, create_time_us, conversation) VALUES (?, ?, ?)", rows)


def remove_labels(db: apsw.Connection, key: int, create_time_us: int, metadata: Mapping[str, Json]) -> None:
    """Undo `add_labels`."""
    rows = [(number, create_time_us, key) for number in label_hashes(metadata)]
    db.executemany("DELETE FROM label WHERE hash = ? AND create_time_us = ? AND conversation = ?", rows)


def read_list(db: apsw.Connection, query: Query) -> tuple[list[Conversation], str]:
    """Read a page of a list, and where it ends; empty after the last.

    Raises:
        InvalidRequest: INVALID_PAGE_TOKEN.
    """
    sql, values = _statement(query)
    found: list[Conversation] = []
    position = ""
    size = 0
    with closing(db.execute(sql, values)) as rows:
        for index, row in enumerate(rows):
            time_us, key, head_id, revision, count, update_time_us, body = row
            size_bytes = len(body) + len(head_id.encode()) + _ENVELOPE_BYTES
            if index == query.page_size or (found and size + size_bytes > query.page_bytes):
                return found, position
            conversation = codec.decode_conversation(
                body, head_id=head_id, revision=revision, message_count=count, update_time_ns=update_time_us * 1000
            )
            # Two labels may have one hash.
            if all(conversation.metadata.get(name) == text for name, text in query.labels.items()):
                found.append(conversation)
                size += size_bytes
            position = _position(time_us, key)
    return found, ""


def _statement(query: Query) -> tuple[str, list[int]]:
    hashes = [label_hash(name, text) for name, text in query.labels.items()]
    by_update = query.order is ListOrder.UPDATE_TIME
    # The first label leads, and in order of creation its index is already sorted.
    leads = bool(hashes) and not by_update
    time, key = ("l.create_time_us", "l.conversation") if leads else (f"c.{query.order.value}_us", "c.key")
    wheres: list[str] = []
    values: list[int] = []
    if hashes:
        wheres.append("l.hash = ?")
        values.append(hashes[0])
    for number in hashes[1:]:
        wheres.append(
            "EXISTS (SELECT 1 FROM label WHERE hash = ? AND create_time_us = c.create_time_us AND conversation = c.key)"
        )
        values.append(number)
    created = "l.create_time_us" if hashes else "c.create_time_us"
    for column, sign, time_ns in (
        (created, ">=", query.create_from_ns),
        (created, "<", query.create_before_ns),
        ("c.update_time_us", ">=", query.update_from_ns),
    ):
        if time_ns is not None:
            wheres.append(f"{column} {sign} ?")
            values.append(-(-time_ns // 1000))  # columns hold whole microseconds: rounded up, both signs hold
    if query.after:
        wheres.append(f"({time}, {key}) < (?, ?)")
        values += _read_position(query.after)
    tables = "label AS l CROSS JOIN conversation AS c ON c.key = l.conversation" if hashes else "conversation AS c"
    where = " AND ".join(wheres) or "1"
    sql = (
        f"SELECT {time}, {key}, coalesce(m.id, ''), c.revision, c.message_count, c.update_time_us, c.body"  # noqa: S608
        f" FROM {tables} LEFT JOIN message AS m ON m.key = c.head"
        f" WHERE {where} ORDER BY {time} DESC, {key} DESC LIMIT ?"
    )
    return sql, [*values, query.page_size + 1]


def _position(time_us: int, key: int) -> str:
    return f"{time_us}.{key}"


def _read_position(text: str) -> tuple[int, int]:
    time_us, dot, key = text.partition(".")
    try:
        found = int(time_us), int(key)
    except ValueError:
        raise bad_position() from None
    if not dot or max(map(abs, found)) >= 1 << 63:
        raise bad_position()
    return found
