"""Reads how long a provider asks us to wait."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz

MAX_S = 60.0
"""Longest wait that is passed on: a provider that says more is asked again after this."""

_ABSURD_S = 7 * 86400.0


def retry_after_s(headers: Mapping[str, str], now_s: float | None = None) -> float | None:
    """Seconds to wait, over 0 and at most 60; None if the provider said nothing, or nothing sensible.

    `retry-after-ms` wins over `retry-after`, which holds whole seconds or a date in one of the three formats
    that HTTP knows.

    Args:
        headers: Names in lower case, or a mapping that does not mind.
        now_s: Seconds since 1970; now, if None.
    """
    wait_s = _number(headers.get("retry-after-ms", ""), fraction=True) / 1000
    if not wait_s > 0:
        said = headers.get("retry-after", "").strip()
        wait_s = _number(said, fraction=False)
        if math.isnan(wait_s):
            wait_s = _until(said, time.time() if now_s is None else now_s)
    return min(wait_s, MAX_S) if 0 < wait_s <= _ABSURD_S else None


def _number(text: str, *, fraction: bool) -> float:
    """The number, or NaN. Only digits: `float` would also take `1e20`, `1_0`, `inf`, and digits of other scripts."""
    text = text.strip()
    digits = text.replace(".", "", 1) if fraction else text
    return float(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else math.nan


def _until(date: str, now_s: float) -> float:
    try:
        parsed = parsedate_tz(date[:64])
        return mktime_tz(parsed) - now_s if parsed else math.nan
    except (ValueError, OverflowError, TypeError, IndexError):
        return math.nan
