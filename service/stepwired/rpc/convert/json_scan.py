"""Walks through a large JSON text piece by piece, so that no single step holds up the other threads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

_BLANK = re.compile(rb"[ \t\r\n]*")
_SCALAR = re.compile(rb"[^\s,\]}]*")
_TOKEN = re.compile(rb'["{}\[\]]')

#: What one piece may have beside its strings, which are quick to read however long they are.
_PIECE_BYTES = 2 << 20
_PIECE_DEPTH = 200


class NotJson(ValueError):
    """The text is no JSON, or of another shape. `str()` says what is wrong, without any of the text."""


class Scanner:
    """Reads a JSON text from its beginning to its end. What it hands out are values that `msgspec` has decoded.

    Args:
        raw: UTF-8. Not copied.
    """

    def __init__(self, raw: bytes | bytearray) -> None:
        self._raw = raw
        self._view = memoryview(raw)
        self._at = 3 if raw.startswith(b"\xef\xbb\xbf") else 0

    def peek(self) -> bytes:
        """The next character that is not blank; empty at the end."""
        self._skip_blank()
        return bytes(self._view[self._at : self._at + 1])

    def items(self) -> Iterator[Any]:
        """Yield the items of the array that comes next.

        Raises:
            NotJson: There is none, or it is not whole.
        """
        self._take(b"[", "a list")
        if self.peek() == b"]":
            self._at += 1
            return
        while True:
            yield self.value()
            if not self._goes_on(b"]"):
                return

    def members(self) -> Iterator[str]:
        """Yield the keys of the object that comes next; the caller reads each value before it goes on.

        Raises:
            NotJson: There is none, or it is not whole.
        """
        self._take(b"{", "an object")
        if self.peek() == b"}":
            self._at += 1
            return
        while True:
            if self.peek() != b'"':
                raise NotJson(f"a key is missing at byte {self._at}")
            key = self.value()
            self._take(b":", "a colon")
            yield key
            if not self._goes_on(b"}"):
                return

    def value(self) -> Any:
        """Read the value that comes next.

        Raises:
            NotJson: There is none, or it is too large or too deep to be read in one piece.
        """
        self._skip_blank()
        begin = self._at
        end = self._end_of_value(begin)
        try:
            read = msgspec.json.decode(self._view[begin:end])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise NotJson(f"no JSON at byte {begin}") from None
        self._at = end
        return read

    def finish(self) -> None:
        """Make sure that nothing follows.

        Raises:
            NotJson: Something does.
        """
        if self.peek():
            raise NotJson(f"something follows the end of the JSON, at byte {self._at}")

    def _end_of_value(self, begin: int) -> int:
        first = bytes(self._view[begin : begin + 1])
        if first == b'"':
            return self._end_of_string(begin)
        if first not in (b"{", b"["):
            match = _SCALAR.match(self._raw, begin)
            assert match is not None
            return match.end()
        depth = 0
        strings = 0
        at = begin
        while match := _TOKEN.search(self._raw, at):
            at = match.end()
            if match.group() == b'"':
                at = self._end_of_string(at - 1)
                strings += at - match.end() - 1
            else:
                depth += 1 if match.group() in b"{[" else -1
            if depth > _PIECE_DEPTH:
                raise NotJson(f"nested too deep at byte {at}")
            if at - begin - strings > _PIECE_BYTES:
                raise NotJson(f"what begins at byte {begin} is too large")
            if depth == 0:
                return at
        raise NotJson(f"what begins at byte {begin} has no end")

    def _end_of_string(self, begin: int) -> int:
        """Find the byte after the string that begins with the quote at `begin`."""
        at = begin + 1
        while (quote := self._raw.find(b'"', at)) >= 0:
            back = quote
            while self._raw[back - 1] == 0x5C:  # a backslash
                back -= 1
            if (quote - back) % 2 == 0:
                return quote + 1
            at = quote + 1
        raise NotJson(f"the string that begins at byte {begin} has no end")

    def _goes_on(self, closing: bytes) -> bool:
        """Read a comma, or the end."""
        found = self.peek()
        if found not in (b",", closing) or not found:
            raise NotJson(f"a comma is missing at byte {self._at}")
        self._at += 1
        return found == b","

    def _take(self, wanted: bytes, what: str) -> None:
        if self.peek() != wanted:
            raise NotJson(f"{what} is missing at byte {self._at}")
        self._at += 1

    def _skip_blank(self) -> None:
        match = _BLANK.match(self._raw, self._at)
        assert match is not None
        self._at = match.end()
