"""The part of a SQLite store that takes replies: into conversations, and to be given again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TypedDict

import apsw
import msgspec

from stepwired.conversation import grow
from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.events import Finished, Message
from stepwired.store import codec, kept_replies
from stepwired.store.codec.replies import decode_reply, encode_reply
from stepwired.store.nouns import ChatCall, WholeReply
from stepwired.store.sqlite_parts import SqliteParts
from stepwired.store.tree import StoredTree


class Rules(TypedDict):
    """The arguments of `grow` beside the tree and the messages."""

    now_ns: int
    message_limit: int
    parent_id: str
    keep_head: bool
    allow_orphan: bool


class SqliteReplies(SqliteParts):
    """`Replies`, over one open store."""

    async def begin_reply(
        self,
        conversation_id: str,
        messages: Sequence[Message],
        *,
        parent_id: str = "",
        if_revision: int | None = None,
        call: ChatCall | None = None,
    ) -> str:
        now_ns = self._core.now_ns()

        def work(db: apsw.Connection) -> str:
            now_s = self._core.clock.now_s()
            if call is not None and (kept := kept_replies.find(db, call, now_s)) is not None:
                StoredTree.open(db, conversation_id).require(kept.asked)
                return kept.asked
            tree = StoredTree.open(db, conversation_id, if_revision)
            growth = grow(tree, messages, **self._rules(now_ns, parent_id=parent_id, room_count=1))
            last = growth.ids[-1] if growth.ids else parent_id or tree.head_id
            if not last:
                text = "has no message to reply to: send a prompt or messages"
                raise InvalidRequest.of([Violation("conversation_id", text, Reason.INVALID_CONVERSATION)])
            tree.require(parent_id)
            tree.write(growth, now_ns, self._core.limits.reply_bytes)
            if call is not None:
                kept_replies.begin(db, call, now_s, conversation=tree.key, asked=last)
            return last

        return await self._core.write(conversation_id, work, messages)

    async def append_reply(
        self,
        conversation_id: str,
        parent_id: str,
        messages: Sequence[Message],
        *,
        call: ChatCall | None = None,
        reply: WholeReply | None = None,
    ) -> tuple[tuple[Message, ...], bool]:
        now_ns = self._core.now_ns()

        def work(db: apsw.Connection) -> tuple[tuple[Message, ...], bool]:
            now_s = self._core.clock.now_s()
            kept = None if call is None else kept_replies.find(db, call, now_s)
            tree = StoredTree.open(db, conversation_id)
            # What an earlier try of the same call left is no other's message.
            branched = tree.head_id != parent_id and (kept is None or tree.head_id != kept.partial)
            rules = self._rules(now_ns, parent_id=parent_id, keep_head=branched, allow_orphan=True)
            rules["message_limit"] = sys.maxsize  # it has been paid for
            growth = grow(tree, messages, **rules)
            tree.write(growth, now_ns, self._core.limits.reply_bytes)
            if call is not None and kept is not None:
                if reply is None:
                    kept_replies.end(db, call, now_s, None, growth.ids[-1])
                else:
                    whole = msgspec.structs.replace(reply.finished, messages=growth.new, branched=branched)
                    kept_replies.end(db, call, now_s, self._encoded(whole, reply), kept.partial)
            return growth.new, branched

        return await self._core.write(conversation_id, work, messages)

    async def begin_call(self, call: ChatCall) -> None:
        def work(db: apsw.Connection) -> None:
            now_s = self._core.clock.now_s()
            if kept_replies.find(db, call, now_s) is None:
                kept_replies.begin(db, call, now_s)

        await self._core.writer.submit(work)

    async def keep_reply(self, call: ChatCall, reply: WholeReply) -> None:
        def work(db: apsw.Connection) -> None:
            kept_replies.end(db, call, self._core.clock.now_s(), self._encoded(reply.finished, reply))

        await self._core.writer.submit(work, measure=lambda: self._core.limits.reply_bytes // 8)

    async def kept_reply(self, call: ChatCall) -> WholeReply | None:
        now_s = self._core.clock.now_s()

        def work(db: apsw.Connection) -> WholeReply | None:
            kept = kept_replies.find(db, call, now_s)
            return None if kept is None or kept.body is None else WholeReply(*decode_reply(kept.body))

        return await self._core.readers.read(work)

    def _encoded(self, finished: Finished, reply: WholeReply) -> bytes | None:
        """What is kept of a reply: nothing of one that no message could carry."""
        try:
            body = encode_reply(finished, reply.logprobs)
        except (UnicodeEncodeError, codec.Unstorable):
            return None
        return body if len(body) <= self._core.limits.reply_bytes else None

    def _rules(
        self,
        now_ns: int,
        *,
        parent_id: str = "",
        keep_head: bool = False,
        allow_orphan: bool = False,
        room_count: int = 0,
    ) -> Rules:
        return Rules(
            now_ns=now_ns,
            message_limit=self._core.limits.conversation_messages - room_count,
            parent_id=parent_id,
            keep_head=keep_head,
            allow_orphan=allow_orphan,
        )
