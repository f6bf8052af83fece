"""Reads and writes one conversation as the rules of `conversation` see it, within a transaction of the writer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import apsw

from stepwired.conversation import Conversation, Growth, message_not_found
from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.events import Message
from stepwired.store import blobs, codec, search
from stepwired.store.keys import SHIFT
from stepwired.store.labels import add_labels
from stepwired.store.refusals import check_revision, conversation_exists, conversation_not_found

_CONVERSATION = """
SELECT c.key, c.head, coalesce(m.id, ''), c.revision, c.message_count, c.update_time_us, c.body
FROM conversation AS c LEFT JOIN message AS m ON m.key = c.head
WHERE c.id = ?
"""

_INSERT_MESSAGE = """
INSERT INTO message (key, parent, conversation, id, revision, moved_head, role, tool_use_id, create_time_us, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_FIRST_USE = "SELECT min(key) FROM message WHERE conversation = ? AND tool_use_id = ?"

_UP = """
WITH RECURSIVE up (key, parent, tool_use_id) AS (
  SELECT key, parent, tool_use_id FROM message WHERE key = ?
  UNION ALL
  SELECT m.key, m.parent, m.tool_use_id FROM up JOIN message AS m ON m.key = up.parent
)
SELECT key, parent, tool_use_id FROM up
"""

#: What surrounds a message in the largest reply that carries it alone.
_ENVELOPE_BYTES = 1024


_Row = tuple[int, int, str, int, int, int, bytes]
"""What `_CONVERSATION` selects."""


@dataclass(slots=True)
class _Way:
    """A way up from a message as far as it was read."""

    next: int
    """Key of the message above what was read; of nobody once the first message was read."""

    uses: dict[str, int] = field(default_factory=dict)
    """The key of the topmost use of each tool id."""


class _Uses:
    """Finds tool uses above messages. However many are asked for, each message of the conversation is read once."""

    def __init__(self, db: apsw.Connection, conversation: int) -> None:
        self._db = db
        self._conversation = conversation
        self._first: dict[str, int | None] = {}
        self._way_of: dict[int, _Way] = {}

    def has(self, tool_id: str, key: int) -> bool:
        """Whether the tool was used in the message `key` or above it."""
        if tool_id not in self._first:
            row: Any = self._db.execute(_FIRST_USE, (self._conversation, tool_id)).fetchone()
            self._first[tool_id] = row[0]
        first = self._first[tool_id]
        # Keys fall on the way up: nothing above the first use has to be read.
        while first is not None and key >= first:
            way = self._way_of.get(key) or _Way(key)
            if way.uses.get(tool_id, key + 1) <= key or self._read(way, tool_id, first):
                return True
            key = way.next
        return False

    def _read(self, way: _Way, tool_id: str, first: int) -> bool:
        """Read on until there is a use of the tool, or the way joins another, or cannot have any."""
        if way.next < first or way.next in self._way_of:
            return False
        with closing(self._db.execute(_UP, (way.next,))) as rows:
            for key, parent, used in rows:
                self._way_of[key] = way
                way.next = parent
                if used is not None:
                    way.uses[used] = key
                if used == tool_id:
                    return True
                if parent < first or parent in self._way_of:
                    return False
        way.next = 0  # a parent is missing, which only damage can do: the way ends here
        return False


class StoredTree:
    """One conversation within the writer's transaction; a `conversation.Tree`."""

    def __init__(self, db: apsw.Connection, row: _Row) -> None:
        self._db = db
        self.key, head, self.head_id, self.revision, self.message_count, self._update_time_us, self._body = row
        self._keys = {self.head_id: head, "": self.key << SHIFT}
        self._uses = _Uses(db, self.key)

    @classmethod
    def open(cls, db: apsw.Connection, conversation_id: str, if_revision: int | None = None) -> StoredTree:
        """Find a conversation.

        Raises:
            NotFound: CONVERSATION_NOT_FOUND.
            Conflict: REVISION_MISMATCH.
        """
        row = db.execute(_CONVERSATION, (conversation_id,)).fetchone()
        if row is None:
            raise conversation_not_found(conversation_id)
        check_revision(conversation_id, row[3], if_revision)
        return cls(db, row)

    @classmethod
    def create(cls, db: apsw.Connection, conversation: Conversation) -> StoredTree:
        """Add a conversation without messages.

        Raises:
            Conflict: CONVERSATION_EXISTS.
            InvalidRequest: Its title or metadata could not be read back.
        """
        if db.execute("SELECT 1 FROM conversation WHERE id = ?", (conversation.id,)).fetchone():
            raise conversation_exists(conversation.id)
        time_us = conversation.create_time_ns // 1000
        try:
            body = codec.encode_conversation(conversation)
        except codec.Unstorable as error:
            reason = Reason.INVALID_METADATA if error.part == "metadata" else Reason.FIELD_INVALID
            raise InvalidRequest.of([Violation(error.part, error.why, reason)]) from None
        values = (conversation.id, time_us, time_us, body)
        db.execute(
            "INSERT INTO conversation (id, head, revision, message_count, create_time_us, update_time_us, body)"
            " VALUES (?, 0, 1, 0, ?, ?, ?)",
            values,
        )
        key = db.last_insert_rowid()
        add_labels(db, key, time_us, conversation.metadata)
        return cls(db, (key, key << SHIFT, "", 1, 0, time_us, body))

    def conversation(self) -> Conversation:
        """Describe the conversation, with what `write` did."""
        return _conversation(
            (self.key, 0, self.head_id, self.revision, self.message_count, self._update_time_us, self._body)
        )

    def find(self, message_id: str) -> Message | None:
        row = self._db.execute(
            "SELECT key, body FROM message WHERE conversation = ? AND id = ?", (self.key, message_id)
        ).fetchone()
        if row is None:
            return None
        self._keys[message_id] = row[0]
        return codec.decode_message(row[1])

    def require(self, message_id: str) -> int:
        """The key of a message, or of nobody for the empty id; NotFound, MESSAGE_NOT_FOUND, if there is none."""
        if message_id not in self._keys and self.find(message_id) is None:
            raise message_not_found(message_id)
        return self._keys[message_id]

    def read(self, message_id: str) -> Message:
        """A message; NotFound, MESSAGE_NOT_FOUND, is raised if there is none."""
        if (message := self.find(message_id)) is None:
            raise message_not_found(message_id)
        return message

    def has_tool_use(self, tool_id: str, message_id: str) -> bool:
        return self._uses.has(tool_id, self._keys[message_id])

    def write(self, growth: Growth, now_ns: int, reply_bytes: int) -> None:
        """Add the new messages, and move the head.

        Raises:
            InvalidRequest: INVALID_MESSAGE, a message that could not be read back, or not in one reply.
        """
        rows = []
        uses: list[tuple[int, int]] = []
        faults: list[Violation] = []
        places = {message_id: index for index, message_id in enumerate(growth.ids)}
        for given in growth.new:
            self.message_count += 1
            self.revision += 1
            key = self._keys[given.id] = self.key << SHIFT | self.message_count
            message, shown = blobs.resolve(self._db, given) if given.images else (given, ())
            uses += [(key, blob) for blob in shown]
            rows.append(
                (
                    key,
                    self._keys[message.parent_id],
                    self.key,
                    message.id,
                    self.revision,
                    message.id == growth.head_id,
                    message.role.value,
                    message.tool_use.tool_id if message.tool_use else None,
                    message.create_time_ns // 1000,
                    _body(message, places, reply_bytes - _ENVELOPE_BYTES, faults),
                )
            )
        if faults:
            raise InvalidRequest.of(faults)
        if rows:
            self._db.executemany(_INSERT_MESSAGE, rows)
            self._db.executemany("INSERT INTO blob_use (message, blob) VALUES (?, ?)", uses)
            search.note_new(self._db, rows[0][0], rows[-1][0])
            self.head_id, self._update_time_us = growth.head_id, now_ns // 1000
            values = (self._keys[growth.head_id], self.revision, self.message_count, now_ns // 1000, self.key)
            self._db.execute(
                "UPDATE conversation SET head = ?, revision = ?, message_count = ?, update_time_us = ? WHERE key = ?",
                values,
            )


def _body(message: Message, places: Mapping[str, int], limit_bytes: int, faults: list[Violation]) -> bytes:
    """Encode a new message, or note what is wrong with it."""
    body, part = b"", ""
    try:
        body = codec.encode_message(message)
        size = len(body)
        why = f"has {size} bytes as it is stored, and the limit is {limit_bytes}" if size > limit_bytes else ""
    except codec.Unstorable as error:
        part, why = error.part and f".{error.part}", error.why
    if why:
        faults.append(Violation(f"messages[{places[message.id]}]{part}", why, Reason.INVALID_MESSAGE))
    return body


def describe(db: apsw.Connection, conversation_id: str) -> Conversation:
    """Read a conversation, on any connection.

    Raises:
        NotFound: CONVERSATION_NOT_FOUND.
    """
    row = db.execute(_CONVERSATION, (conversation_id,)).fetchone()
    if row is None:
        raise conversation_not_found(conversation_id)
    return _conversation(row)


def _conversation(row: _Row) -> Conversation:
    _, _, head_id, revision, message_count, update_time_us, body = row
    return codec.decode_conversation(
        body, head_id=head_id, revision=revision, message_count=message_count, update_time_ns=update_time_us * 1000
    )
