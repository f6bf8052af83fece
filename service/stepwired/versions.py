"""Versions of steps and pipelines: numbers with dots between them, compared as numbers."""

from __future__ import annotations

import re
from itertools import chain

VERSION_BYTES = 32

FIRST = "1"
"""What is given to the first version where nobody says."""

_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*")


def fault(version: str) -> str | None:
    """Say what keeps a text from being a version; None if nothing does."""
    if len(version) > VERSION_BYTES or not _VERSION.fullmatch(version):
        return f"must be numbers with dots between them, at most {VERSION_BYTES} bytes, such as 2 or 1.4"
    return None


def rank(version: str) -> bytes:
    """What versions are sorted by: number for number, so that 1.10 is above 1.9, and 1.0 above 1.

    Texts of the same numbers, such as 1 and 01, are versions of their own, one above the other. Text that is no version
    ranks below all that are.
    """
    if fault(version):
        return b"\0" + version.encode(errors="surrogatepass")
    numbers = [number.lstrip("0").encode() for number in version.split(".")]
    # More digits are a larger number; the end is less than any number.
    parts = chain.from_iterable((bytes([len(digits) + 1]), digits) for digits in numbers)
    return b"".join(parts) + b"\0" + version.encode()


def falling(version: str) -> str:
    """A text that sorts versions the other way round: the highest first."""
    # The end is above any byte: one rank may be the beginning of another, as those of 0 and 00.
    return bytes(0xFF - byte for byte in rank(version)).decode("latin-1") + "\u0100"


def following(version: str) -> str | None:
    """The version that is given to what follows: the first number plus 1; None if that is too long for a version."""
    made = str(int(version.partition(".")[0]) + 1)
    return made if len(made) <= VERSION_BYTES else None
