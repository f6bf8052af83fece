"""Reads and writes one conversation as the rules of `conversation` see it, within a transaction of the writer."""

from __future__ import annotations

import apsw

from stepwired.conversation import Conversation, Growth, message_not_found
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

# Seqs fall on the way up, so that the walk can end at the oldest use of the tool.
_IS_USED = """
WITH RECURSIVE
  used (key) AS (SELECT key FROM message WHERE conversation = :conversation AND tool_use_id = :tool_id),
  up (key) AS (
    SELECT :start WHERE EXISTS (SELECT 1 FROM used)
    UNION ALL
    SELECT m.parent FROM up JOIN message AS m ON m.key = up.key WHERE m.parent >= (SELECT min(key) FROM used)
  )
SELECT 1 FROM up WHERE key IN (SELECT key FROM used) LIMIT 1
"""


class StoredTree:
    """One conversation within the writer's transaction; a `conversation.Tree`."""

    def __init__(self, db: apsw.Connection, row: tuple[int, int, str, int, int]) -> None:
        self._db = db
        self.key, self._head, self.head_id, self.revision, self.message_count = row
        self._keys = {self.head_id: self._head, "": self.key << SHIFT}

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
        return cls(db, row[:5])

    @classmethod
    def create(cls, db: apsw.Connection, conversation: Conversation) -> StoredTree:
        """Add a conversation without messages.

        Raises:
            Conflict: CONVERSATION_EXISTS.
        """
        if db.execute("SELECT 1 FROM conversation WHERE id = ?", (conversation.id,)).fetchone():
            raise conversation_exists(conversation.id)
        time_us = conversation.create_time_ns // 1000
        values = (conversation.id, time_us, time_us, codec.encode_conversation(conversation))
        db.execute(
            "INSERT INTO conversation (id, head, revision, message_count, create_time_us, update_time_us, body)"
            " VALUES (?, 0, 1, 0, ?, ?, ?)",
            values,
        )
        key = db.last_insert_rowid()
        add_labels(db, key, time_us, conversation.metadata)
        return cls(db, (key, key << SHIFT, "", 1, 0))

    def find(self, message_id: str) -> Message | None:
        row = self._db.execute(
            "SELECT key, body FROM message WHERE conversation = ? AND id = ?", (self.key, message_id)
        ).fetchone()
        if row is None:
            return None
        self._keys[message_id] = row[0]
        return codec.decode_message(row[1])

    def require(self, message_id: str) -> int:
        """The key of a message; NotFound, MESSAGE_NOT_FOUND, is raised if there is none."""
        if message_id not in self._keys and self.find(message_id) is None:
            raise message_not_found(message_id)
        return self._keys[message_id]

    def read(self, message_id: str) -> Message:
        """A message; NotFound, MESSAGE_NOT_FOUND, is raised if there is none."""
        if (message := self.find(message_id)) is None:
            raise message_not_found(message_id)
        return message

    def require_message(self, message_id: str) -> int:
        """As `require`, and the empty id is no message either."""
        self.read(message_id)
        return self._keys[message_id]

    def has_tool_use(self, tool_id: str, message_id: str) -> bool:
        values = {"conversation": self.key, "tool_id": tool_id, "start": self._keys[message_id]}
        return self._db.execute(_IS_USED, values).fetchone() is not None

    def write(self, growth: Growth, now_ns: int) -> None:
        """Add the new messages, and move the head."""
        rows = []
        uses: list[tuple[int, int]] = []
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
                    codec.encode_message(message),
                )
            )
        if rows:
            self._db.executemany(_INSERT_MESSAGE, rows)
            self._db.executemany("INSERT INTO blob_use (message, blob) VALUES (?, ?)", uses)
            search.note_new(self._db, rows[0][0], rows[-1][0])
            self.head_id = growth.head_id
            values = (self._keys[growth.head_id], self.revision, self.message_count, now_ns // 1000, self.key)
            self._db.execute(
                "UPDATE conversation SET head = ?, revision = ?, message_count = ?, update_time_us = ? WHERE key = ?",
                values,
            )


def describe(db: apsw.Connection, conversation_id: str) -> Conversation:
    """Read a conversation, on any connection.

    Raises:
        NotFound: CONVERSATION_NOT_FOUND.
    """
    row = db.execute(_CONVERSATION, (conversation_id,)).fetchone()
    if row is None:
        raise conversation_not_found(conversation_id)
    _, _, head_id, revision, message_count, update_time_us, body = row
    return codec.decode_conversation(
        body, head_id=head_id, revision=revision, message_count=message_count, update_time_ns=update_time_us * 1000
    )
