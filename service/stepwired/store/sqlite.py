"""Keeps conversations in one SQLite file: one writer with group commit, readers apart."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypedDict

import apsw

from stepwired.conversation import Conversation, MessageView, grow
from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.events import Json, Message
from stepwired.limits import Limits
from stepwired.store import views
from stepwired.store.base import check_view
from stepwired.store.database import Durability, Home, open_reader, open_writer
from stepwired.store.readers import Readers
from stepwired.store.tree import StoredTree, describe
from stepwired.store.writer import Writer

READERS = 4


class SqliteStore:
    """A `ConversationStore` in a folder of its own, for one process at a time. Made by `open`."""

    def __init__(
        self, home: Home, writer: Writer, readers: Readers, limits: Limits, clock_ns: Callable[[], int]
    ) -> None:
        self._home = home
        self._writer = writer
        self._readers = readers
        self._limits = limits
        self._clock_ns = clock_ns
        self._closed = False

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        limits: Limits | None = None,
        durability: Durability = "full",
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> SqliteStore:
        """Open the store, or make it. Call it after anything that forks.

        Args:
            folder: Made with mode 0700 if it is missing; the files in it are for their owner alone.
            limits: `conversation_messages`, `stream_message_bytes` and `reply_bytes` are kept here.
            durability: See `database.Durability`.
            clock_ns: Now, in nanoseconds since 1970, for the times that messages carry. Order does not depend on it.

        Raises:
            Unavailable: STORE_UNAVAILABLE, another process has it open; the message names its id.
            Misconfigured: STORE_UNAVAILABLE or STORE_VERSION_UNSUPPORTED; the message says what to do.
            Broken: STORE_CORRUPT.
        """
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as undo:
            home = Home(folder)
            undo.callback(home.close)
            db = await loop.run_in_executor(None, open_writer, home.path, durability)
            writer = Writer(db, loop)
            undo.push_async_callback(writer.close)
            connections = []
            for _ in range(READERS):
                connections.append(await loop.run_in_executor(None, open_reader, home.path))
                undo.callback(connections[-1].close)
            readers = Readers(connections)
            undo.pop_all()
        return cls(home, writer, readers, limits or Limits(), clock_ns)

    async def create(
        self,
        conversation_id: str = "",
        *,
        title: str = "",
        metadata: Mapping[str, Json] | None = None,
        messages: Sequence[Message] = (),
        allow_orphan: bool = False,
    ) -> tuple[Conversation, tuple[str, ...]]:
        now_ns = self._now_ns()
        made = Conversation(conversation_id or str(uuid.uuid4()), title, metadata=metadata or {}, create_time_ns=now_ns)

        def work(db: apsw.Connection) -> tuple[Conversation, tuple[str, ...]]:
            tree = StoredTree.create(db, made)
            growth = grow(tree, messages, **self._rules(now_ns, allow_orphan=allow_orphan))
            tree.write(growth, now_ns, self._limits.reply_bytes)
            return describe(db, made.id), growth.ids

        return await self._writer.submit(work)

    async def get(self, conversation_id: str) -> Conversation:
        return await self._readers.read(lambda db: describe(db, conversation_id))

    async def append(
        self,
        conversation_id: str,
        messages: Sequence[Message],
        *,
        keep_head: bool = False,
        allow_orphan: bool = False,
    ) -> tuple[Conversation, tuple[str, ...]]:
        now_ns = self._now_ns()

        def work(db: apsw.Connection) -> tuple[Conversation, tuple[str, ...]]:
            tree = StoredTree.open(db, conversation_id)
            rules = self._rules(now_ns, keep_head=keep_head, allow_orphan=allow_orphan)
            growth = grow(tree, messages, **rules)
            tree.write(growth, now_ns, self._limits.reply_bytes)
            return describe(db, conversation_id), growth.ids

        return await self._writer.submit(work)

    async def begin_reply(self, conversation_id: str, messages: Sequence[Message], *, parent_id: str = "") -> str:
        now_ns = self._now_ns()

        def work(db: apsw.Connection) -> str:
            tree = StoredTree.open(db, conversation_id)
            growth = grow(tree, messages, **self._rules(now_ns, parent_id=parent_id, room_count=1))
            last = growth.ids[-1] if growth.ids else parent_id or tree.head_id
            if not last:
                text = "has no message to reply to: send a prompt or messages"
                raise InvalidRequest.of([Violation("conversation_id", text, Reason.INVALID_CONVERSATION)])
            tree.require(parent_id)
            tree.write(growth, now_ns, self._limits.reply_bytes)
            return last

        return await self._writer.submit(work)

    async def append_reply(
        self, conversation_id: str, parent_id: str, messages: Sequence[Message]
    ) -> tuple[tuple[Message, ...], bool]:
        now_ns = self._now_ns()

        def work(db: apsw.Connection) -> tuple[tuple[Message, ...], bool]:
            tree = StoredTree.open(db, conversation_id)
            branched = tree.head_id != parent_id
            rules = self._rules(now_ns, parent_id=parent_id, keep_head=branched, allow_orphan=True)
            rules["message_limit"] = sys.maxsize  # it has been paid for
            growth = grow(tree, messages, **rules)
            tree.write(growth, now_ns, self._limits.reply_bytes)
            return growth.new, branched

        return await self._writer.submit(work)

    async def messages(
        self, conversation_id: str, view: MessageView = MessageView.HEAD_PATH, message_id: str = ""
    ) -> AsyncGenerator[tuple[Message, ...], None]:
        check_view(view, message_id)
        page_bytes = self._limits.stream_message_bytes
        runs = await self._readers.read(lambda db: views.find_runs(db, conversation_id, view, message_id))
        while page := await self._readers.read(lambda db: views.read_page(db, conversation_id, runs, page_bytes)):
            yield page

    async def message(self, conversation_id: str, message_id: str) -> Message:
        return await self._readers.read(lambda db: views.read_message(db, conversation_id, message_id))

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            async with AsyncExitStack() as undo:
                undo.callback(self._home.close)
                undo.push_async_callback(self._writer.close)  # last connection: it empties the WAL
                await self._readers.close()

    def _now_ns(self) -> int:
        """Now, cut to what a column keeps, so that what a write returns is what a read will show."""
        return self._clock_ns() // 1000 * 1000

    def _rules(
        self,
        now_ns: int,
        *,
        parent_id: str = "",
        keep_head: bool = False,
        allow_orphan: bool = False,
        room_count: int = 0,
    ) -> _Rules:
        return _Rules(
            now_ns=now_ns,
            message_limit=self._limits.conversation_messages - room_count,
            parent_id=parent_id,
            keep_head=keep_head,
            allow_orphan=allow_orphan,
        )


class _Rules(TypedDict):
    """The arguments of `grow` beside the tree and the messages."""

    now_ns: int
    message_limit: int
    parent_id: str
    keep_head: bool
    allow_orphan: bool
