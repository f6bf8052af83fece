"""Finds messages by their words, with SQLite's FTS5."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import apsw

from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.events import Role
from stepwired.store import codec
from stepwired.store.keys import span
from stepwired.store.nouns import Hit
from stepwired.store.readers import Check, one_moment
from stepwired.store.refusals import bad_position, conversation_not_found
from stepwired.store.snippets import Cutter, Phrase

MAX_TERMS = 32
"""Terms of a query, each counted once: what FTS5 needs for a message grows with terms times matches."""

MAX_HITS = 10_000
"""How far the pages of one search go: each is found by passing over all before it."""

#: What is read of messages to cut snippets out of them, for one page: about 2 s. Hits after that show their beginning.
_SNIPPETS_CHARACTERS = 8 * 1024 * 1024

_TERM = re.compile(r'(?P<without>-?)(?:"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]+))')

_FIND = """
SELECT rowid FROM message_index WHERE message_index MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rank LIMIT ? OFFSET ?
"""

#: What parts words, among what everybody can type: `"` and NUL also mean something to FTS5.
_MARKS = re.compile(r"[\0-/:-@\[-`{-~]+")

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


@dataclass(frozen=True, slots=True)
class Term:
    """A word or a phrase of a query."""

    text: str
    begins: bool
    without: bool


def parsed(query: str) -> list[Term]:
    """Read a query: each term once.

    Args:
        query: Words that all must occur; `"a phrase"`, `begin*`, `-without`. Marks around and within words only part
            them.

    Raises:
        InvalidRequest: INVALID_FILTER, there is no word that must occur, or there are too many terms.
    """
    found: dict[Term, Term] = {}
    for term in _TERM.finditer(query):
        text = term["phrase"] if term["phrase"] is not None else term["word"]
        if any(map(str.isalnum, text)):
            begins = term["word"] is not None and text.endswith("*")
            # Marks only part words: with other capitals, or marks at its ends, it would be the same term once more.
            plain = _MARKS.sub(" ", text).strip()
            made = Term(plain, begins, bool(term["without"]))
            found.setdefault(replace(made, text=plain.casefold()), made)
    if all(term.without for term in found):
        text = "needs a word that must occur: letters or digits, without a minus before them"
        raise InvalidRequest.of([Violation("query", text, Reason.INVALID_FILTER)])
    if len(found) > MAX_TERMS:
        text = f"has {len(found)} words and phrases, and the limit is {MAX_TERMS}"
        raise InvalidRequest.of([Violation("query", text, Reason.INVALID_FILTER)])
    return list(found.values())


def expression(terms: Sequence[Term]) -> str:
    """Write a query in the language of FTS5."""
    written = [(term.without, f'"{term.text}"' + ("*" if term.begins else "")) for term in terms]
    found = " AND ".join(text for without, text in written if not without)
    unwanted = " OR ".join(text for without, text in written if without)
    return f"({found}) NOT ({unwanted})" if unwanted else found


def find(
    db: apsw.Connection, check: Check, query: str, *, conversation_id: str, page_size: int, after: str
) -> tuple[list[Hit], str]:
    """Find messages; see `parts.Index.search`. In one read transaction, so that a hit is there to be described."""
    terms = parsed(query)
    skip = 0
    if after:
        if not (after.isascii() and after.isdigit() and len(after) < 10 and int(after) < MAX_HITS):
            raise bad_position()
        skip = int(after)
    page_size = min(page_size, MAX_HITS - skip)
    cutter = Cutter(db, check)
    phrases = [cutter.phrase(term.text, begins=term.begins) for term in terms if not term.without]
    phrases = [phrase for phrase in phrases if phrase.words]
    hits: list[Hit] = []
    room = _SNIPPETS_CHARACTERS
    with one_moment(db):
        first, last = _range(db, conversation_id)
        values = (expression(terms), first, last, page_size + 1, skip)
        keys = [key for (key,) in db.execute(_FIND, values)]
        for key in keys[:page_size]:
            check()
            hit, size = _hit(db, key, cutter, phrases if room > 0 else ())
            hits.append(hit)
            room -= size
    end = skip + page_size
    return hits, str(end) if len(keys) > page_size and end < MAX_HITS else ""


def _range(db: apsw.Connection, conversation_id: str) -> tuple[int, int]:
    if not conversation_id:
        return 0, (1 << 63) - 1
    row = db.execute("SELECT key FROM conversation WHERE id = ?", (conversation_id,)).fetchone()
    if row is None:
        raise conversation_not_found(conversation_id)
    return span(row[0])


def _hit(db: apsw.Connection, key: int, cutter: Cutter, phrases: Sequence[Phrase]) -> tuple[Hit, int]:
    """Describe what was found, and say how much text that took."""
    row: Any = db.execute(_DESCRIBE, (key,)).fetchone()
    conversation_id, body, message_body = row
    message = codec.decode_message(message_body)
    title = codec.decode_conversation(body, head_id="", revision=1, message_count=0, update_time_ns=0).title
    text = codec.searchable_text(message_body)
    part, highlights = cutter.cut(text, phrases)
    hit = Hit(conversation_id, title, message.id, Role(message.role), message.create_time_ns, part, highlights)
    return hit, len(text)
