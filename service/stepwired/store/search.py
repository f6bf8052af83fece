"""Finds messages by their words, with SQLite's FTS5."""

from __future__ import annotations

import re
import secrets
from typing import Any

import apsw

from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.events import Role
from stepwired.store import codec
from stepwired.store.keys import span
from stepwired.store.nouns import Hit
from stepwired.store.readers import one_moment
from stepwired.store.refusals import bad_position, conversation_not_found

SNIPPET_WORDS = 64
"""The most that FTS5 knows how to cut out."""

SNIPPET_CHARACTERS = 1000
"""Words have no longest length, and there may be anything between them."""

_TERM = re.compile(r'(?P<without>-?)(?:"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]+))')

# The index sorts by itself, and then cuts snippets only out of what is shown.
_FIND = """
SELECT rowid, snippet(message_index, 0, ?, ?, '…', ?) FROM message_index
WHERE message_index MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rank LIMIT ? OFFSET ?
"""

_DESCRIBE = """
SELECT c.id, c.body, m.body FROM message AS m JOIN conversation AS c ON c.key = m.conversation WHERE m.key = ?
"""


def note_new(db: apsw.Connection, first: int, last: int) -> None:
    """Have messages put into the index before the transaction ends, with those of all other writes at once.

    For each savepoint FTS5 would begin a segment of its own.
    """
    db.execute("INSERT INTO temp.unindexed (first, last) VALUES (?, ?)", (first, last))


def prepare(db: apsw.Connection) -> None:
    """Make what `note_new` needs, on the connection that writes."""
    db.execute("CREATE TEMP TABLE unindexed (first INTEGER PRIMARY KEY, last INTEGER NOT NULL)")


def index_new(db: apsw.Connection) -> None:
    """Put what was noted into the index. It must be there before a message can be taken out of it."""
    db.execute(
        # A cross join, so that SQLite does not look for new messages among all there are.
        "INSERT INTO message_index (rowid, text) SELECT t.key, t.text FROM temp.unindexed AS u"
        " CROSS JOIN message_text AS t ON t.key BETWEEN u.first AND u.last ORDER BY u.first"
    )
    db.execute("DELETE FROM temp.unindexed")


def remove(db: apsw.Connection, first: int, last: int) -> None:
    """Take messages out of the index, while they are still stored."""
    index_new(db)
    db.execute(
        "INSERT INTO message_index (message_index, rowid, text) SELECT 'delete', key, text FROM message_text"
        " WHERE key BETWEEN ? AND ?",
        (first, last),
    )


def expression(query: str) -> str:
    """Write a query in the language of FTS5.

    Args:
        query: Words that all must occur; `"a phrase"`, `begin*`, `-without`. Marks around and within words only part
            them.

    Raises:
        InvalidRequest: INVALID_FILTER, there is no word that must occur.
    """
    wanted: list[str] = []
    unwanted: list[str] = []
    for term in _TERM.finditer(query):
        text = term["phrase"] if term["phrase"] is not None else term["word"]
        if not any(map(str.isalnum, text)):
            continue
        begins = term["word"] is not None and text.endswith("*")
        text = text.replace('"', " ").replace("\0", " ")
        (unwanted if term["without"] else wanted).append(f'"{text}"' + ("*" if begins else ""))
    if not wanted:
        text = "needs a word that must occur: letters or digits, without a minus before them"
        raise InvalidRequest.of([Violation("query", text, Reason.INVALID_FILTER)])
    found = " AND ".join(wanted)
    return f"({found}) NOT ({' OR '.join(unwanted)})" if unwanted else found


def find(db: apsw.Connection, query: str, *, conversation_id: str, page_size: int, after: str) -> tuple[list[Hit], str]:
    """Find messages; see `parts.Index.search`. In one read transaction, so that a hit is there to be described."""
    match = expression(query)
    skip = 0
    if after:
        if not (after.isascii() and after.isdigit() and len(after) < 10):
            raise bad_position()
        skip = int(after)
    mark = secrets.token_hex(8)
    start, end = f"<{mark}", f">{mark}"
    with one_moment(db):
        first, last = _range(db, conversation_id)
        values = (start, end, SNIPPET_WORDS, match, first, last, page_size + 1, skip)
        rows: list[Any] = db.execute(_FIND, values).fetchall()
        hits = [_hit(db, key, snippet, start, end) for key, snippet in rows[:page_size]]
    return hits, str(skip + page_size) if len(rows) > page_size else ""


def marked(snippet: str, start: str, end: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Take marks out of a snippet, cut it, and say where they were: code points, first and one after the last."""
    parts = re.split(f"({re.escape(start)}|{re.escape(end)})", snippet)
    plain: list[str] = []
    ranges: list[tuple[int, int]] = []
    at = begun = 0
    for part in parts:
        if part == start:
            begun = at
        elif part == end:
            ranges.append((begun, at))
        else:
            plain.append(part)
            at += len(part)
    text = "".join(plain)
    if len(text) <= SNIPPET_CHARACTERS:
        return text, tuple(ranges)
    # A little of what is before the first word that was found, and what fits after it.
    cut = max(0, min((ranges[0][0] if ranges else 0) - SNIPPET_CHARACTERS // 4, len(text) - SNIPPET_CHARACTERS))
    stop = cut + SNIPPET_CHARACTERS
    kept = [(max(a, cut) - cut, min(b, stop) - cut) for a, b in ranges if a < stop and b > cut]
    return text[cut:stop], tuple(kept)


def _range(db: apsw.Connection, conversation_id: str) -> tuple[int, int]:
    if not conversation_id:
        return 0, (1 << 63) - 1
    row = db.execute("SELECT key FROM conversation WHERE id = ?", (conversation_id,)).fetchone()
    if row is None:
        raise conversation_not_found(conversation_id)
    return span(row[0])


def _hit(db: apsw.Connection, key: int, snippet: str, start: str, end: str) -> Hit:
    row: Any = db.execute(_DESCRIBE, (key,)).fetchone()
    conversation_id, body, message_body = row
    message = codec.decode_message(message_body)
    title = codec.decode_conversation(body, head_id="", revision=1, message_count=0, update_time_ns=0).title
    text, highlights = marked(snippet, start, end)
    return Hit(conversation_id, title, message.id, Role(message.role), message.create_time_ns, text, highlights)
