"""What tests of stores say and read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Any, TypeVar

import apsw

from stepwired.conversation import MessageView
from stepwired.events import Message
from stepwired.store.base import ConversationStore
from stepwired.store.nouns import Change
from stepwired.store.sqlite import SqliteStore

T = TypeVar("T")

#: Every table that has rows of conversations.
TABLES = ("conversation", "message", "label", "change", "request", "blob_use", "message_index_docsize")


def said(*texts: str) -> list[Message]:
    return [Message(text=text, id=text) for text in texts]


async def read_ids(store: SqliteStore, name: str, view: MessageView = MessageView.HEAD_PATH, to: str = "") -> list[str]:
    async with aclosing(store.messages(name, view, to)) as pages:
        return [message.id async for page in pages for message in page]


async def read_changes(store: ConversationStore, name: str, after: int, last: int) -> list[Change]:
    """All changes after one revision up to another, which has been reached."""
    found: list[Change] = []
    async with aclosing(store.changes(name, after)) as pages:
        while not found or found[-1].revision < last:
            found += await anext(pages)
    return found


async def on_writer(store: SqliteStore, sql: str) -> Any:
    return await store._core.writer.submit(lambda db: db.execute(sql).fetchall())


async def within(store: SqliteStore, work: Callable[[apsw.Connection], T]) -> T:
    """Do something in a transaction of the writer."""
    return await store._core.writer.submit(work)


async def count_rows(store: SqliteStore) -> dict[str, int]:
    counted = {}
    for table in TABLES:
        [(counted[table],)] = await on_writer(store, f"SELECT count(*) FROM {table}")
    return counted


async def check_whole(store: SqliteStore) -> None:
    """The file is whole, and the search index says what the messages say."""

    def check(db: apsw.Connection) -> tuple[Any, Any]:
        db.execute("INSERT INTO message_index (message_index, rank) VALUES ('integrity-check', 1)")
        return db.pragma("integrity_check"), db.pragma("foreign_key_check")

    assert await within(store, check) == ("ok", None)
