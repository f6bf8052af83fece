"""Cuts out of a text the part around what a search found, in one pass over it.

FTS5 can do so as well, in time that grows with the square of the matches, and nothing can interrupt it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apsw

SNIPPET_WORDS = 64
SNIPPET_CHARACTERS = 1000
"""Words have no longest length, and there may be anything between them."""

#: Words and characters that a snippet shows before the first match, at most.
_WORDS_BEFORE, _CHARACTERS_BEFORE = 16, 250

#: A text is taken apart in pieces of about so many characters, each of which ends before something that parts words.
_PIECE_CHARACTERS = 4096
_BETWEEN = re.compile(r"[\s!-/:-@\[-`{-~]")

_Word = tuple[int, int, str]
"""First character, the one after the last, and the word as the index knows it."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that a search wants side by side; of the last its beginning alone, if `begins`."""

    words: tuple[str, ...]
    begins: bool = False


class Cutter:
    """Takes texts apart as the index does, on one connection.

    Args:
        db: Any connection.
        check: Is called often, and may raise to end the work.
    """

    def __init__(self, db: apsw.Connection, check: Callable[[], None] = lambda: None) -> None:
        self._tokenizer = db.fts5_tokenizer("unicode61", ["remove_diacritics", "2"])
        self._check = check

    def phrase(self, text: str, *, begins: bool = False) -> Phrase:
        """Read a phrase of a query; it has no words if its text has none."""
        return Phrase(tuple(word for _, _, word in self._words(text)), begins)

    def cut(self, text: str, phrases: Sequence[Phrase]) -> tuple[str, tuple[tuple[int, int], ...]]:
        """Cut out the part around the first match, or the beginning where there is none.

        Cost: the text up to the end of the part, each word once.

        Returns:
            The part, with `…` where it was cut, and where in it the matches are: first code point and the one after
            the last, in order, never overlapping.
        """
        if not phrases:
            return _part(text, 0, len(text), [])
        longest = max(len(phrase.words) for phrase in phrases)
        recent: deque[_Word] = deque(maxlen=_WORDS_BEFORE + longest)
        ranges: list[tuple[int, int]] = []
        start, room, end = 0, SNIPPET_WORDS, len(text)
        for word in self._words(text):
            if ranges and (not room or word[1] - start > SNIPPET_CHARACTERS):
                end = recent[-1][1]
                break
            recent.append(word)
            length = _match(recent, phrases)
            if length:
                begun = recent[-length][0]
                if not ranges:
                    start, room = _begin(recent, length)
                while ranges and begun < ranges[-1][1]:  # a longer phrase may reach over several
                    begun = min(begun, ranges.pop()[0])
                ranges.append((max(begun, start), word[1]))
            room -= bool(ranges)
        return _part(text, start, end, ranges)

    def _words(self, text: str) -> Iterator[_Word]:
        at = 0
        while at < len(text):
            self._check()
            found = _BETWEEN.search(text, at + _PIECE_CHARACTERS)
            stop = found.start() if found else len(text)
            piece = text[at:stop].encode("utf-8", "replace")
            place, byte = at, 0
            words: Any = self._tokenizer(piece, apsw.FTS5_TOKENIZE_DOCUMENT, None, include_colocated=False)
            for first, last, word in words:
                place += len(piece[byte:first].decode())
                end = place + len(piece[first:last].decode())
                yield place, end, word
                place, byte = end, last
            at = stop


def _match(recent: deque[_Word], phrases: Sequence[Phrase]) -> int:
    """How many words the longest phrase has that ends with the newest word; 0 if none does."""
    newest = recent[-1][2]
    longest = 0
    for phrase in phrases:
        words, count = phrase.words, len(phrase.words)
        if count <= longest or count > len(recent):
            continue
        if newest != words[-1] and not (phrase.begins and newest.startswith(words[-1])):
            continue
        if all(recent[index - count][2] == words[index] for index in range(count - 1)):
            longest = count
    return longest


def _begin(recent: deque[_Word], length: int) -> tuple[int, int]:
    """Where a snippet begins whose first match is the newest `length` words, and how many words it has room for."""
    match = len(recent) - length
    first = match
    while first and match - first < _WORDS_BEFORE and recent[match][0] - recent[first - 1][0] <= _CHARACTERS_BEFORE:
        first -= 1
    # With nothing before it, what stands in front of the first word is shown as well.
    is_beginning = first == 0 and (recent.maxlen is None or len(recent) < recent.maxlen)
    near = recent[first][0] <= _CHARACTERS_BEFORE
    return (0 if is_beginning and near else recent[first][0]), SNIPPET_WORDS - (match - first) - (length - 1)


def _part(text: str, start: int, end: int, ranges: list[tuple[int, int]]) -> tuple[str, tuple[tuple[int, int], ...]]:
    before = "…" if start else ""
    stop = min(end, start + SNIPPET_CHARACTERS - 2)
    shift = len(before) - start
    kept = [(first + shift, min(last, stop) + shift) for first, last in ranges if first < stop]
    return before + text[start:stop] + ("…" if stop < len(text) else ""), tuple(kept)
