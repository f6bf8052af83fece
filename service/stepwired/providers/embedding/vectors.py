"""Checks vectors that providers send, and packs them as the wire of ours wants them."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Sequence

from stepwired.limits import KIB
from stepwired.providers import faults

_FEW_BYTES = 128 * KIB


def packed(numbers: Sequence[float]) -> bytes:
    """Little-endian IEEE 754 floats, four bytes each. Raises OverflowError where no float is that large."""
    floats = array("f", numbers)
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tobytes()


def dimensions_of(provider: str, rows: Sequence[bytes]) -> int:
    """The length of vectors, which have to be of one length, and finite.

    Raises:
        Failure: PROVIDER_PROTOCOL_ERROR: they are not.
    """
    width = len(rows[0]) if rows else 0
    if not width or width % 4 or any(len(row) != width for row in rows):
        raise faults.nonsense(provider, f"did not send one vector of one length for each of {len(rows)} texts")
    if not _are_finite(rows):
        raise faults.nonsense(provider, "sent a vector with a number that is not finite")
    return width // 4


def _are_finite(rows: Sequence[bytes]) -> bool:
    """Whether no number is infinite or NaN. A sum shows it: sums of doubles that were floats cannot overflow."""
    if sys.byteorder == "little" and sum(map(len, rows)) <= _FEW_BYTES:
        # A few vectors, as from a search: not worth the 20 MB and 100 ms that importing numpy costs.
        return all(math.isfinite(sum(array("f", row))) for row in rows)
    import numpy as np

    return all(bool(np.isfinite(np.frombuffer(row, "<f4").sum(dtype=np.float64))) for row in rows)
