"""Keeps conversations in one SQLite file: one writer with group commit, readers apart."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import apsw

from stepwired.conversation import Conversation, Growth, MessageView, grow, plant
from stepwired.events import Json, Message, MessageStatus
from stepwired.limits import Limits
from stepwired.store import edits, views
from stepwired.store.answers import Answer, look_up, once
from stepwired.store.core import Core, whole_microseconds
from stepwired.store.database import Durability
from stepwired.store.edits import Edit
from stepwired.store.nouns import Request
from stepwired.store.refusals import check_view
from stepwired.store.sqlite_replies import SqliteReplies
from stepwired.store.tree import StoredTree, describe


class SqliteStore(SqliteReplies):
    """A `ConversationStore` in a folder of its own, for one process at a time. Made by `open`."""

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self._closed = False

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        limits: Limits | None = None,
        durability: Durability = "full",
        clock_ns: Callable[[], int] = time.time_ns,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> SqliteStore:
        """Open the store, or make it. Call it after anything that forks.

        Args:
            folder: Made with mode 0700 if it is missing; the files in it are for their owner alone.
            limits: `conversation_messages`, `stream_message_bytes`, `reply_bytes` and those of metadata are kept here.
            durability: See `database.Durability`.
            clock_ns: Now, in nanoseconds since 1970, for the times that messages carry. Order does not depend on it.
            monotonic_s: Seconds since any moment, for what is kept for a time.

        Raises:
            Unavailable: STORE_UNAVAILABLE, another process has it open; the message names its id.
            Misconfigured: STORE_UNAVAILABLE or STORE_VERSION_UNSUPPORTED; the message says what to do.
            Broken: STORE_CORRUPT.
        """
        return cls(await Core.open(folder, limits or Limits(), durability, clock_ns, monotonic_s))

    async def answered(self, method: str, request: Request) -> Answer | None:
        now_s = self._core.clock.now_s()
        return await self._core.readers.read(lambda db: look_up(db, method, request, now_s))

    async def create(
        self,
        conversation_id: str = "",
        *,
        title: str = "",
        metadata: Mapping[str, Json] | None = None,
        messages: Sequence[Message] = (),
        allow_orphan: bool = False,
        request: Request | None = None,
    ) -> tuple[Conversation, tuple[str, ...]]:
        now_ns = self._core.now_ns()
        made = Conversation(conversation_id or str(uuid.uuid4()), title, metadata=metadata or {}, create_time_ns=now_ns)

        def work(db: apsw.Connection) -> Answer:
            return once(db, "create", request, self._core.clock.now_s(), lambda: create(db))

        def create(db: apsw.Connection) -> tuple[int, Conversation, tuple[str, ...]]:
            tree = StoredTree.create(db, made)
            growth = grow(tree, messages, **self._rules(now_ns, allow_orphan=allow_orphan))
            return self._grown(tree, growth, now_ns)

        return await self._core.write(made.id, work, messages, metadata)

    async def get(self, conversation_id: str) -> Conversation:
        return await self._core.readers.read(lambda db: describe(db, conversation_id))

    async def append(
        self,
        conversation_id: str,
        messages: Sequence[Message],
        *,
        keep_head: bool = False,
        allow_orphan: bool = False,
        if_revision: int | None = None,
        request: Request | None = None,
    ) -> tuple[Conversation, tuple[str, ...]]:
        now_ns = self._core.now_ns()

        def work(db: apsw.Connection) -> Answer:
            return once(db, "append", request, self._core.clock.now_s(), lambda: append(db))

        def append(db: apsw.Connection) -> tuple[int, Conversation, tuple[str, ...]]:
            tree = StoredTree.open(db, conversation_id, if_revision)
            growth = grow(tree, messages, **self._rules(now_ns, keep_head=keep_head, allow_orphan=allow_orphan))
            return self._grown(tree, growth, now_ns)

        return await self._core.write(conversation_id, work, messages)

    async def messages(
        self, conversation_id: str, view: MessageView = MessageView.HEAD_PATH, message_id: str = ""
    ) -> AsyncGenerator[tuple[Message, ...], None]:
        check_view(view, message_id)
        read, page_bytes = self._core.readers.read, self._core.limits.stream_message_bytes
        runs = await read(lambda db: views.find_runs(db, conversation_id, view, message_id))
        while page := await read(lambda db: views.read_page(db, conversation_id, runs, page_bytes)):
            yield page

    async def message(self, conversation_id: str, message_id: str) -> Message:
        return await self._core.readers.read(lambda db: views.read_message(db, conversation_id, message_id))

    async def update(
        self,
        conversation_id: str,
        *,
        title: str | None = None,
        metadata: Mapping[str, Json] | None = None,
        merge: bool = False,
        head_id: str | None = None,
        if_revision: int | None = None,
    ) -> Conversation:
        edit = Edit(title=title, head_id=head_id, metadata=metadata, merge=merge)
        now_ns, limits = self._core.now_ns(), self._core.limits

        def work(db: apsw.Connection) -> Conversation:
            return edits.update(db, conversation_id, edit, if_revision=if_revision, limits=limits, now_ns=now_ns)

        return await self._core.write(conversation_id, work, metadata=metadata)

    async def update_message(
        self,
        conversation_id: str,
        message_id: str,
        *,
        metadata: Mapping[str, Json] | None = None,
        merge: bool = False,
        status: MessageStatus | None = None,
        if_revision: int | None = None,
    ) -> tuple[Message, int]:
        edit = Edit(status=status, metadata=metadata, merge=merge)
        now_ns, limits = self._core.now_ns(), self._core.limits

        def work(db: apsw.Connection) -> tuple[Message, int]:
            return edits.update_message(
                db, conversation_id, message_id, edit, if_revision=if_revision, limits=limits, now_ns=now_ns
            )

        return await self._core.write(conversation_id, work, metadata=metadata)

    async def delete(self, conversation_id: str, *, if_revision: int | None = None) -> None:
        await self._core.writer.submit(
            lambda db: edits.delete(db, conversation_id, if_revision),
            lambda gone: self._core.bells.ring_deleted(conversation_id, *gone),
        )

    async def fork(
        self,
        conversation_id: str,
        message_id: str = "",
        *,
        new_id: str = "",
        title: str | None = None,
        request: Request | None = None,
    ) -> Conversation:
        copy = Conversation(new_id or str(uuid.uuid4()), create_time_ns=self._core.now_ns())

        def work(db: apsw.Connection) -> Answer:
            return once(db, "fork", request, self._core.clock.now_s(), lambda: fork(db))

        def fork(db: apsw.Connection) -> tuple[int, Conversation, tuple[str, ...]]:
            key = edits.fork(db, conversation_id, message_id, copy, title)
            return key, describe(db, copy.id), ()

        return (await self._core.write(copy.id, work))[0]

    async def import_(
        self, conversation: Conversation, messages: Sequence[Message], *, as_line: bool = False
    ) -> Conversation:
        now_ns = self._core.now_ns()
        made = replace(
            conversation,
            id=conversation.id or str(uuid.uuid4()),
            create_time_ns=whole_microseconds(conversation.create_time_ns or now_ns),
        )

        def work(db: apsw.Connection) -> Conversation:
            tree = StoredTree.create(db, made)
            limit = self._core.limits.conversation_messages
            growth = plant(messages, now_ns=now_ns, message_limit=limit, head_id=made.head_id, as_line=as_line)
            return self._grown(tree, growth, now_ns)[1]

        return await self._core.write(made.id, work, messages)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._core.close()

    def _grown(self, tree: StoredTree, growth: Growth, now_ns: int) -> tuple[int, Conversation, tuple[str, ...]]:
        tree.write(growth, now_ns, self._core.limits.reply_bytes)
        return tree.key, tree.conversation(), growth.ids
