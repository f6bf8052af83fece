"""What tests of the store say to it, and how they read what it holds."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from stepwired.conversation import MessageView
from stepwired.events import Message
from stepwired.store.sqlite import SqliteStore

MIB = 1024 * 1024


def said(*texts: str) -> list[Message]:
    return [Message(text=text, id=text) for text in texts]


async def read_ids(store: SqliteStore, name: str, view: MessageView = MessageView.HEAD_PATH, to: str = "") -> list[str]:
    async with aclosing(store.messages(name, view, to)) as pages:
        return [message.id async for page in pages for message in page]


async def on_writer(store: SqliteStore, sql: str) -> Any:
    return await store._writer.submit(lambda db: db.execute(sql).fetchall())
