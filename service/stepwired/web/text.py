"""Writes JSON by hand where there is much of it: ASCII only, so that no reader can cut a character in two."""

from __future__ import annotations

from collections.abc import Iterator
from json.encoder import encode_basestring_ascii as quoted

__all__ = ["cut", "quoted"]

#: What one character takes at most, as a pair of `\\uXXXX`.
WIDEST_BYTES = 12


def cut(text: str, limit_bytes: int) -> Iterator[str]:
    """Yield `text` in pieces as JSON strings, each of at most so many bytes, cut between characters.

    Args:
        text: Not empty.
        limit_bytes: At least two quotes and one character.
    """
    whole = quoted(text)
    if len(whole) <= limit_bytes:
        yield whole
        return
    at = 0
    while at < len(text):
        count = limit_bytes - 2
        while len(written := quoted(text[at : at + count])) > limit_bytes:
            count = max(1, count * (limit_bytes - 2) // len(written))
        yield written
        at += count
