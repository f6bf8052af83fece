"""Keeps answers, so that a request that is repeated is answered again and done once; and the clock they are kept by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw

from stepwired.conversation import Conversation
from stepwired.store import blobs, codec, kept_replies
from stepwired.store.nouns import KEEP_ANSWER_S, Request
from stepwired.store.refusals import conversation_not_found, request_id_mismatch

SWEEP_S = 60
"""How often a write also removes what was kept long enough, and the clock is written down."""

_SWEPT = 1000

#: In place of a revision, in an answer whose conversation was deleted.
_DELETED = 0

Answer = tuple[Conversation, tuple[str, ...]]


class Clock:
    """Counts the seconds that the store has been open, over all its processes. Used by the writer's thread alone.

    The machine's clock may jump by a day, and so may the time between two processes as far as anybody can tell. What
    is counted here is never too much: what is to be kept for a time is kept at least as long.
    """

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._begun_s = monotonic_s()
        self._before_s = 0
        self._swept_s = -SWEEP_S

    def load(self, db: apsw.Connection) -> None:
        """Go on from where the process before came to, as far as it was written down."""
        row: Any = db.execute("SELECT running_s FROM clock").fetchone()
        self._before_s = row[0]
        self._swept_s = self._before_s - SWEEP_S

    def now_s(self) -> int:
        """Seconds that the store has been open. May be asked by any thread once it was loaded."""
        return self._before_s + int(self._monotonic_s() - self._begun_s)

    def sweep(self, db: apsw.Connection) -> None:
        """Remove what was kept long enough, if it is time to look: a bounded part; the next write goes on."""
        now_s = self.now_s()
        if now_s - self._swept_s < SWEEP_S:
            return
        db.execute("UPDATE clock SET running_s = ?", (now_s,))
        sql = "DELETE FROM request WHERE (method, id) IN (SELECT method, id FROM request WHERE until_s < ? LIMIT ?)"
        db.execute(sql, (now_s, _SWEPT))
        is_done = db.changes() < _SWEPT
        is_done &= kept_replies.sweep(db, now_s)
        if blobs.sweep(db, now_s) and is_done:
            self._swept_s = now_s


def once(
    db: apsw.Connection,
    method: str,
    request: Request | None,
    now_s: int,
    work: Callable[[], tuple[int, Conversation, tuple[str, ...]]],
) -> Answer:
    """Do `work`, or answer as it was answered before.

    Args:
        db: Within a transaction.
        method: What was called: ids of different methods do not meet.
        request: What tells that it was answered before; None if it is always to be done.
        now_s: By the store's clock.
        work: Returns the key of the conversation that the answer goes with, and the answer.

    Raises:
        InvalidRequest: REQUEST_ID_MISMATCH.
        NotFound: CONVERSATION_NOT_FOUND, the conversation of the answer was deleted.
    """
    if request is None:
        return work()[1:]
    if (answer := look_up(db, method, request, now_s)) is not None:
        return answer
    key, conversation, ids = work()
    db.execute(
        "INSERT OR REPLACE INTO request (method, id, digest, conversation, until_s, answer) VALUES (?, ?, ?, ?, ?, ?)",
        (method, request.id, request.digest, key, now_s + KEEP_ANSWER_S, codec.encode_answer(conversation, ids)),
    )
    return conversation, ids


def look_up(db: apsw.Connection, method: str, request: Request, now_s: int) -> Answer | None:
    """Find the answer to a request, on any connection; see `base.ConversationStore.answered`."""
    row = db.execute(
        "SELECT digest, answer FROM request WHERE method = ? AND id = ? AND until_s >= ?", (method, request.id, now_s)
    ).fetchone()
    if row is None:
        return None
    if row[0] != request.digest:
        raise request_id_mismatch()
    conversation, ids = codec.decode_answer(row[1])
    if conversation.revision == _DELETED:
        raise conversation_not_found(conversation.id)
    return conversation, ids


def forget(db: apsw.Connection, key: int, conversation_id: str) -> None:
    """Drop the answers that go with a conversation, but not that they were given: repeating must not do it again."""
    answer = codec.encode_answer(Conversation(conversation_id, revision=_DELETED))
    db.execute("UPDATE request SET answer = ? WHERE conversation = ?", (answer, key))
