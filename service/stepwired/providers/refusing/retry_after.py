"""Reads how long a provider asks us to wait."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import mktime_tz, parsedate_tz
from typing import Any

_ABSURD_S = 7 * 86400.0

#: Which of its limits a server says when it resets, beside how much is left of it.
_LIMITS = (
    ("x-ratelimit-reset-requests", "x-ratelimit-remaining-requests"),
    ("x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens"),
    ("x-ratelimit-reset", "x-ratelimit-remaining"),
    ("ratelimit-reset", "ratelimit-remaining"),
    ("anthropic-ratelimit-requests-reset", "anthropic-ratelimit-requests-remaining"),
    ("anthropic-ratelimit-tokens-reset", "anthropic-ratelimit-tokens-remaining"),
    ("anthropic-ratelimit-input-tokens-reset", "anthropic-ratelimit-input-tokens-remaining"),
    ("anthropic-ratelimit-output-tokens-reset", "anthropic-ratelimit-output-tokens-remaining"),
)
_SPAN = re.compile(r"(?:(\d{1,5})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9})ms)?")
_UNITS_S = (86400.0, 3600.0, 60.0, 1.0, 0.001)


def retry_after_s(headers: Mapping[str, str], now_s: float | None = None, *, status: int = 0) -> float | None:
    """Seconds to wait, over 0 and at most a week; None if the provider said nothing, or nothing sensible.

    `retry-after-ms` wins over `retry-after`, which holds whole seconds or a date in one of the three formats that HTTP
    knows; then comes, with status 429, when limits reset: seconds, spans such as `6m0s` or `20ms`, dates, or times
    since 1970.

    Args:
        headers: Names in lower case, or a mapping that does not mind.
        now_s: Seconds since 1970; now, if None.
        status: HTTP status of the refusal.
    """
    now_s = time.time() if now_s is None else now_s
    wait_s = _number(headers.get("retry-after-ms", ""), fraction=True) / 1000
    if not wait_s > 0:
        said = headers.get("retry-after", "").strip()
        wait_s = _number(said, fraction=False)
        if math.isnan(wait_s):
            wait_s = _until(said, now_s)
    if status == 429 and not wait_s > 0:
        wait_s = _reset(headers, now_s)
    return wait_s if 0 < wait_s <= _ABSURD_S else None


def duration_s(said: Any) -> float | None:
    """Seconds of a span such as `34s`, `6m0s` or `20ms`; None if it is none. Google writes `retryDelay` so."""
    wait_s = _span(said) if isinstance(said, str) else math.nan
    return wait_s if 0 < wait_s <= _ABSURD_S else None


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


def _reset(headers: Mapping[str, str], now_s: float) -> float:
    """When the limit that was reached is no more: the last to reset of those used up, else the first of all."""
    waits = dict(_resets(headers, now_s))
    used_up = [waits[reset] for reset, left in _LIMITS if reset in waits and headers.get(left, "").strip() == "0"]
    return max(used_up) if used_up else min(waits.values(), default=math.nan)


def _resets(headers: Mapping[str, str], now_s: float) -> Iterator[tuple[str, float]]:
    for name, _ in _LIMITS:
        said = headers.get(name, "").strip()[:64]
        wait_s = _number(said, fraction=True)
        if wait_s > 1e12:  # milliseconds since 1970
            wait_s = wait_s / 1000 - now_s
        elif wait_s > 1e9:  # seconds since 1970
            wait_s -= now_s
        elif math.isnan(wait_s):
            wait_s = _span(said)
        if math.isnan(wait_s):
            wait_s = _at(said) - now_s
        if wait_s > 0:
            yield name, wait_s


def _span(text: str) -> float:
    found = _SPAN.fullmatch(text[:64])
    if not text.isascii() or found is None or not any(found.groups()):
        return math.nan
    return sum(float(part) * unit for part, unit in zip(found.groups(), _UNITS_S, strict=True) if part)


def _at(text: str) -> float:
    """Seconds since 1970 of a date as RFC 3339 writes it."""
    try:
        date = datetime.fromisoformat(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return math.nan
