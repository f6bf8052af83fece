"""Keeps replies of chats that may be repeated, and what their tries left, within a transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import apsw

from stepwired.store.nouns import KEEP_ANSWER_S, ChatCall
from stepwired.store.refusals import conversation_not_found, request_id_mismatch

_NO_CONVERSATION, _DELETED = 0, -1

#: Each may have some megabytes.
_SWEPT = 20

_FIND = """
SELECT key, digest, conversation, asked, partial, body FROM reply WHERE method = ? AND id = ? AND until_s >= ?
"""

_BEGIN = """
INSERT OR REPLACE INTO reply (method, id, digest, conversation, asked, partial, until_s, body)
VALUES (?, ?, ?, ?, ?, '', ?, NULL)
"""


@dataclass(frozen=True, slots=True)
class KeptCall:
    """What is known of a call that was begun."""

    key: int
    asked: str
    """With a conversation: id of the message that the reply follows."""

    partial: str
    """Id of the last message that a try left which was cut off; empty if none did."""

    body: bytes | None
    """The reply, if it is whole."""


def find(db: apsw.Connection, call: ChatCall, now_s: int) -> KeptCall | None:
    """Look a call up, on any connection; None if it was never begun, or not within 24 hours.

    Raises:
        InvalidRequest: REQUEST_ID_MISMATCH.
        NotFound: CONVERSATION_NOT_FOUND, its conversation was deleted.
    """
    row: Any = db.execute(_FIND, (call.method, call.id, now_s)).fetchone()
    if row is None:
        return None
    key, digest, conversation, asked, partial, body = row
    if digest != call.digest:
        raise request_id_mismatch()
    if conversation == _DELETED:
        raise conversation_not_found(call.conversation_id)
    return KeptCall(key, asked, partial, body)


def begin(
    db: apsw.Connection, call: ChatCall, now_s: int, *, conversation: int = _NO_CONVERSATION, asked: str = ""
) -> None:
    """Note that a call has begun, in place of one with its id that was kept long enough."""
    values = (call.method, call.id, call.digest, conversation, asked, now_s + KEEP_ANSWER_S)
    db.execute(_BEGIN, values)


def end(db: apsw.Connection, call: ChatCall, now_s: int, body: bytes | None, partial: str = "") -> None:
    """Note how a call that was begun ended: with a whole reply, or with a message that is left of one."""
    sql = "UPDATE reply SET until_s = ?, body = ?, partial = ? WHERE method = ? AND id = ?"
    db.execute(sql, (now_s + KEEP_ANSWER_S, body, partial, call.method, call.id))


def forget(db: apsw.Connection, conversation: int) -> None:
    """Drop the replies of a conversation that is deleted, but not that there were any: a repeat must not ask again."""
    db.execute("UPDATE reply SET conversation = ?, body = NULL WHERE conversation = ?", (_DELETED, conversation))


def sweep(db: apsw.Connection, now_s: int) -> bool:
    """Remove what was kept long enough, a bounded part of it; whether that was all."""
    db.execute("DELETE FROM reply WHERE key IN (SELECT key FROM reply WHERE until_s < ? LIMIT ?)", (now_s, _SWEPT))
    return db.changes() < _SWEPT
