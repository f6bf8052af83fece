"""Changes, copies and removes whole conversations, within a transaction of the writer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import apsw

from stepwired import conversation as rules
from stepwired.conversation import Conversation
from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.events import Json, Message, MessageStatus
from stepwired.limits import Limits
from stepwired.store import answers, blobs, changes, codec, kept_replies, labels, search
from stepwired.store.keys import span
from stepwired.store.tree import StoredTree

_UPDATE = "UPDATE conversation SET head = ?, revision = ?, update_time_us = ?, body = ? WHERE key = ?"

# The path, oldest first, with the numbers that its messages get.
_PATH = """
WITH RECURSIVE
  up (key, parent) AS (
    SELECT key, parent FROM message WHERE key = :last
    UNION ALL
    SELECT m.key, m.parent FROM up JOIN message AS m ON m.key = up.parent
  ),
  path (key, seq) AS (SELECT key, row_number() OVER (ORDER BY key) FROM up)
"""

_COPY_MESSAGES = f"""{_PATH}
INSERT INTO message (key, parent, conversation, id, revision, moved_head, role, tool_use_id, create_time_us, body)
SELECT
  :nobody + p.seq, :nobody + p.seq - 1, :copy, m.id, 1 + p.seq, m.key = :last, m.role, m.tool_use_id,
  m.create_time_us, m.body
FROM path AS p JOIN message AS m ON m.key = p.key
"""  # noqa: S608

_COPY_USES = f"""{_PATH}
INSERT INTO blob_use (message, blob)
SELECT :nobody + p.seq, u.blob FROM path AS p JOIN blob_use AS u ON u.message = p.key
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Edit:
    """What is to change of a conversation or a message; None stays as it is."""

    title: str | None = None
    head_id: str | None = None
    status: MessageStatus | None = None
    metadata: Mapping[str, Json] | None = None
    merge: bool = False


@contextmanager
def _storable() -> Iterator[None]:
    """Refuse, before anything is written, what could not be read back."""
    try:
        yield
    except codec.Unstorable as error:
        reason = Reason.INVALID_METADATA if error.part == "metadata" else Reason.FIELD_INVALID
        raise InvalidRequest.of([Violation(error.part, error.why, reason)]) from None


def update(
    db: apsw.Connection, conversation_id: str, edit: Edit, *, if_revision: int | None, limits: Limits, now_ns: int
) -> Conversation:
    """Change a conversation; see `base.ConversationStore.update`."""
    tree = StoredTree.open(db, conversation_id, if_revision)
    before = tree.conversation()
    after = replace(before, revision=before.revision + 1, update_time_ns=now_ns)
    if edit.title is not None:
        after = replace(after, title=edit.title)
    if edit.metadata is not None:
        metadata = rules.changed(before.metadata, edit.metadata, limits, merge=edit.merge, path="conversation.metadata")
        after = replace(after, metadata=metadata)
        create_time_us = before.create_time_ns // 1000
        labels.remove_labels(db, tree.key, create_time_us, before.metadata)
        labels.add_labels(db, tree.key, create_time_us, metadata)
    head = tree.require(before.head_id)
    if edit.head_id is not None:
        tree.read(edit.head_id)  # the empty id is none either
        head = tree.require(edit.head_id)
        after = replace(after, head_id=edit.head_id)
    with _storable():
        body = codec.encode_conversation(after)
    db.execute(_UPDATE, (head, after.revision, now_ns // 1000, body, tree.key))
    changes.note_conversation(db, tree.key, before, after)
    return after


def update_message(
    db: apsw.Connection,
    conversation_id: str,
    message_id: str,
    edit: Edit,
    *,
    if_revision: int | None,
    limits: Limits,
    now_ns: int,
) -> tuple[Message, int]:
    """Change a message; see `base.ConversationStore.update_message`."""
    tree = StoredTree.open(db, conversation_id, if_revision)
    message = tree.read(message_id)
    metadata = message.metadata
    if edit.metadata is not None:
        metadata = rules.changed(metadata, edit.metadata, limits, merge=edit.merge)
    after = replace(message, metadata=metadata, status=edit.status or message.status, update_time_ns=now_ns)
    key, revision = tree.require(message_id), tree.revision + 1
    with _storable():
        body = codec.encode_message(after)
    db.execute("UPDATE message SET body = ? WHERE key = ?", (body, key))
    values = (revision, now_ns // 1000, tree.key)
    db.execute("UPDATE conversation SET revision = ?, update_time_us = ? WHERE key = ?", values)
    changes.note_message(db, tree.key, revision, tree.message_count, key)
    return after, revision


def fork(db: apsw.Connection, conversation_id: str, message_id: str, copy: Conversation, title: str | None) -> int:
    """Copy the path to a message into a new conversation; its key. See `base.ConversationStore.fork`.

    Args:
        db: Within a transaction.
        conversation_id: The conversation to copy from.
        message_id: The end of the path; the head if empty.
        copy: With the id and the time of the copy.
        title: The copy's; None for the same.
    """
    tree = StoredTree.open(db, conversation_id)
    last = tree.require(message_id or tree.head_id)
    old = tree.conversation()
    made = StoredTree.create(db, replace(copy, title=old.title if title is None else title, metadata=old.metadata))
    nobody, _ = span(made.key)
    values = {"last": last, "nobody": nobody, "copy": made.key}
    db.execute(_COPY_MESSAGES, values)
    if count := db.changes():
        if db.execute("SELECT 1 FROM blob_use WHERE message BETWEEN ? AND ? LIMIT 1", span(tree.key)).fetchone():
            db.execute(_COPY_USES, values)
        search.note_new(db, nobody + 1, nobody + count)
        sql = "UPDATE conversation SET head = ?, revision = ?, message_count = ? WHERE key = ?"
        db.execute(sql, (nobody + count, 1 + count, count, made.key))
    return made.key


def delete(db: apsw.Connection, conversation_id: str, if_revision: int | None) -> tuple[int, int]:
    """Remove a conversation with all that belongs to it; its key, and the revision that this is."""
    tree = StoredTree.open(db, conversation_id, if_revision)
    conversation = tree.conversation()
    first, last = span(tree.key)
    search.remove(db, first, last)
    blobs.release(db, first, last)
    labels.remove_labels(db, tree.key, conversation.create_time_ns // 1000, conversation.metadata)
    answers.forget(db, tree.key, conversation_id)
    kept_replies.forget(db, tree.key)
    db.execute("DELETE FROM change WHERE conversation = ?", (tree.key,))
    db.execute("DELETE FROM message WHERE key BETWEEN ? AND ?", (first, last))
    db.execute("DELETE FROM conversation WHERE key = ?", (tree.key,))
    return tree.key, tree.revision + 1
