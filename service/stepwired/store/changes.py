"""Notes what changes in a conversation beside appends, and reads all its changes back in order.

An append is noted by its message, which knows its revision. Everything else gets a row of its own, and the newest of
these rows are kept. Revisions are dense, so that a gap could not go unseen.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import apsw

from stepwired.conversation import Conversation
from stepwired.errors import Broken, InvalidRequest, Reason, Subject, Violation
from stepwired.store import codec
from stepwired.store.keys import SHIFT
from stepwired.store.nouns import Appended, Change, ConversationUpdated, Created, MessageUpdated
from stepwired.store.readers import one_moment
from stepwired.store.refusals import conversation_not_found, feed_compacted

KEPT_UPDATES = 10_000
"""Updates of one conversation that are kept to be read one by one. Appends always are."""

KEPT_BYTES = 16 * 1024 * 1024
"""What the states of a conversation, one for each of its own updates, may take. The newest is always kept."""

#: Changes of a page, however small they are.
PAGE_CHANGES = 500

_NEWEST = "SELECT number, total_bytes FROM change WHERE conversation = ? ORDER BY revision DESC LIMIT 1"
_OLDEST = """
SELECT revision, number, total_bytes, message_count FROM change WHERE conversation = ? ORDER BY revision LIMIT 1
"""
_INSERT = """
INSERT INTO change (conversation, revision, message, message_count, number, total_bytes, body)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""


def note_message(db: apsw.Connection, key: int, revision: int, message_count: int, message: int) -> None:
    """Note that a message was updated.

    Args:
        db: Within a transaction.
        key: Of the conversation.
        revision: The conversation's, with this change.
        message_count: How many messages it has.
        message: Key of the message.
    """
    _note(db, key, revision, message_count, message, None)


def note_conversation(db: apsw.Connection, key: int, before: Conversation, after: Conversation) -> None:
    """Note that a conversation was updated, and, the first time, what it was like when it was created."""
    if not _is_overwritten(db, key):
        body = codec.encode_answer(_as_created(before))
        db.execute(_INSERT, (key, 1, None, 0, 0, 0, body))
    _note(db, key, after.revision, after.message_count, None, codec.encode_answer(after))


def newest_revision(db: apsw.Connection, conversation_id: str, after_revision: int | None) -> tuple[int, int]:
    """Find where a reader of changes begins: key of the conversation, and the last revision that was seen.

    Raises:
        NotFound: CONVERSATION_NOT_FOUND.
        InvalidRequest: FIELD_INVALID, there is no such revision yet.
    """
    row = db.execute("SELECT key, revision FROM conversation WHERE id = ?", (conversation_id,)).fetchone()
    if row is None:
        raise conversation_not_found(conversation_id)
    key, revision = row
    if after_revision is None:
        return key, revision
    if not 0 <= after_revision <= revision:
        text = f"must be 0 to {revision}, the newest revision of this conversation"
        raise InvalidRequest.of([Violation("after_revision", text)])
    return key, after_revision


def read_changes(db: apsw.Connection, key: int, after: int, page_bytes: int) -> tuple[Change, ...] | None:
    """Read the next changes, at least one if there is any; None if the conversation is gone.

    Raises:
        Conflict: FEED_COMPACTED.
    """
    with one_moment(db):  # what a later read finds in one table may belong before what an earlier found in another
        sql = "SELECT id, revision, message_count, feed_revision, feed_count, body FROM conversation WHERE key = ?"
        row = db.execute(sql, (key,)).fetchone()
        if row is None:
            return None
        conversation_id, newest, count, feed_revision, feed_count, body = row
        if after < feed_revision:
            raise feed_compacted(conversation_id, feed_revision)
        if after >= newest:
            return ()
        first = _first_message(db, key, after, (feed_revision, feed_count) if feed_revision else (1, 0))
        changes: list[Change] = []
        size = 0
        appended = _appended(db, (key << SHIFT) + first, (key << SHIFT) + count)
        updated = _updated(db, key, after)
        created = [(Created(1, _creation(body)), len(body))] if after == 0 else []
        with closing(appended), closing(updated):
            for change, change_bytes in _merge(created, appended, updated, after):
                size += change_bytes
                if changes and size > page_bytes:
                    break
                changes.append(change)
                if len(changes) == PAGE_CHANGES or change.revision == newest:
                    break
        return tuple(changes)


_Sized = tuple[Change, int]


def _merge(
    created: Sequence[_Sized], appended: Iterator[_Sized], updated: Iterator[_Sized], after: int
) -> Iterator[_Sized]:
    """Put changes into the order of their revisions, which has no gaps."""
    append, update = next(appended, None), next(updated, None)
    while True:
        after += 1
        if update is not None and update[0].revision == after:
            yield update
            update = next(updated, None)
        elif append is not None and append[0].revision == after:
            yield append
            append = next(appended, None)
        elif after == 1 and created:
            yield created[0]
        else:
            text = "the changes of a conversation are not whole: the store is damaged; restore it from a backup"
            raise Broken(Reason.STORE_CORRUPT, text, subject=Subject("store", "changes"))


def _appended(db: apsw.Connection, first: int, last: int) -> Generator[_Sized]:
    sql = "SELECT revision, moved_head, body FROM message WHERE key BETWEEN ? AND ? ORDER BY key"
    rows = db.execute(sql, (first, last))
    with closing(rows):
        for revision, moved_head, body in rows:
            yield Appended(revision, codec.decode_message(body), bool(moved_head)), len(body)


def _updated(db: apsw.Connection, key: int, after: int) -> Generator[_Sized]:
    sql = (
        "SELECT c.revision, c.message, coalesce(c.body, m.body) FROM change AS c"
        " LEFT JOIN message AS m ON m.key = c.message WHERE c.conversation = ? AND c.revision > ? ORDER BY c.revision"
    )
    rows = db.execute(sql, (key, after))
    with closing(rows):
        for revision, message, body in rows:
            if message is not None:
                yield MessageUpdated(revision, codec.decode_message(body)), len(body)
            else:
                kind = Created if revision == 1 else ConversationUpdated
                yield kind(revision, codec.decode_answer(body)[0]), len(body)


def _first_message(db: apsw.Connection, key: int, after: int, base: tuple[int, int]) -> int:
    """The seq of the first message appended after a revision: between two updates, each revision is a message."""
    sql = (
        "SELECT revision, message_count FROM change WHERE conversation = ? AND revision <= ?"
        " ORDER BY revision DESC LIMIT 1"
    )
    row: tuple[int, int] | None = db.execute(sql, (key, after)).fetchone()
    revision, count = row or base
    return count + max(0, after - revision) + 1


def _note(
    db: apsw.Connection, key: int, revision: int, message_count: int, message: int | None, body: bytes | None
) -> None:
    number, total_bytes = db.execute(_NEWEST, (key,)).fetchone() or (0, 0)
    number += 1
    total_bytes += len(body or b"")
    db.execute(_INSERT, (key, revision, message, message_count, number, total_bytes, body))
    while True:
        row: Any = db.execute(_OLDEST, (key,)).fetchone()
        oldest, oldest_number, oldest_bytes, count = row
        fits = oldest_number > number - KEPT_UPDATES and oldest_bytes > total_bytes - KEPT_BYTES
        if fits or oldest == revision:
            return
        db.execute("DELETE FROM change WHERE conversation = ? AND revision = ?", (key, oldest))
        db.execute("UPDATE conversation SET feed_revision = ?, feed_count = ? WHERE key = ?", (oldest, count, key))


def _is_overwritten(db: apsw.Connection, key: int) -> bool:
    """Whether the creation was noted, or need not be any more."""
    sql = (
        "SELECT feed_revision > 0 OR EXISTS (SELECT 1 FROM change WHERE conversation = key AND revision = 1)"
        " FROM conversation WHERE key = ?"
    )
    return bool(db.execute(sql, (key,)).fetchall()[0][0])


def _as_created(conversation: Conversation) -> Conversation:
    time_ns = conversation.create_time_ns
    return replace(conversation, head_id="", revision=1, message_count=0, update_time_ns=time_ns)


def _creation(body: bytes) -> Conversation:
    return _as_created(codec.decode_conversation(body, head_id="", revision=1, message_count=0, update_time_ns=0))
