"""Reads what a provider says when it refuses: an error body of any of the wires in, its facts out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from stepwired.providers.refusing.retry_after import duration_s

_STATUS_OF = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "request_too_large": 413,
    "timeout_error": 504,
}
"""The status that a word means where an error comes without one, inside a stream that began with 200."""

_VAGUE = frozenset({"invalid_request_error", "badrequesterror"})
"""What is said of any refusal: where another word says more, that holds."""

_LIMIT = re.compile(r"maximum context length is (\d{1,9})\b", re.IGNORECASE)
_REQUESTED = re.compile(r"(?:resulted in|requested|contains(?: at least)?) (\d{1,9}) ", re.IGNORECASE)
_BOTH = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"prompt is too long: (?P<asked>\d{1,9}) tokens? > (?P<limit>\d{1,9})",
        r"exceed context limit: (?P<asked>\d{1,9}) \+ (?P<more>\d{1,9}) > (?P<limit>\d{1,9})",
        r"input token count(?: \((?P<asked>\d{1,9})\))? exceeds the maximum number of tokens allowed"
        r"(?: \(?(?P<limit>\d{1,9})\)?)?",
    )
)
"""Where Anthropic and Gemini say how much was asked, and how much there may be."""

_SECRETS = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf)[-_][\w*.-]{6,}|\bAIza[\w*-]+|\bAQ\.[\w*-]{6,}|\bBearer\s+\S+"
    r"|key=[^\s&]+|://[^\s/@]+@",
    re.IGNORECASE,
)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_WORD = re.compile(r"[A-Za-z0-9_.\[\]-]{1,64}")
_DETAILS = 16


@dataclass(frozen=True, slots=True)
class Said:
    """An error body, as far as we understand it; everything in it is the provider's word."""

    status: int
    words: frozenset[str] = frozenset()
    """Codes, types and reasons, in lower case."""

    code: str = ""
    message: str = ""
    param: str = ""
    limit_tokens: str = ""
    requested_tokens: str = ""
    wait_s: float | None = None
    is_typed: bool = False
    """Whether it is of the form `{"type": "error", "error": …}`, which is Anthropic's."""


def read(key: str, status: int, body: Any) -> Said:
    """Find the error in the shapes that servers use: `{"error": {…}}`, `{"error": "…"}`, `{"message": …}`, a list.

    Args:
        key: What must not be repeated.
        status: HTTP status; 0 if the error came inside a stream, and only its words tell.
        body: The decoded JSON, or anything.
    """
    if isinstance(body, list) and body:
        body = body[0]
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        error = {"message": error}
    code, kind, message = error.get("code"), error.get("type"), error.get("message")
    text = message if isinstance(message, str) else ""
    details = _Details.of(error.get("details"))
    named = [word for word in (*details.reasons, code, kind, error.get("status")) if isinstance(word, str)]
    words = frozenset(word.lower() for word in named)
    if not status:
        status = code if isinstance(code, int) and 400 <= code <= 599 else 0
        status = status or _status_of(named)
    limit, requested = _counts(text)
    return Said(
        status=status,
        words=words,
        code=_word(next(iter(named), ""), key),
        message=text,
        param=_word(error.get("param") or details.field, key),
        limit_tokens=_count(error.get("n_ctx")) or limit,
        requested_tokens=_count(error.get("n_prompt_tokens")) or requested,
        wait_s=details.wait_s,
        is_typed=isinstance(body, dict) and body.get("type") == "error",
    )


def _status_of(named: Iterable[str]) -> int:
    """What words mean that came without a status: the first that says anything, details before code before type."""
    known = [word for given in named if (word := given.lower()) in _STATUS_OF]
    return next((_STATUS_OF[word] for word in sorted(known, key=_VAGUE.__contains__)), 500)


def redacted(text: str, key: str) -> str:
    """At most 300 characters of what a provider said, on one line and without keys."""
    if len(key) >= 4:
        text = text.replace(key, "***")
    text = _SECRETS.sub("***", _UNPRINTABLE.sub(" ", text[:4096]))
    return text if len(text) <= 300 else text[:299] + "…"


@dataclass(frozen=True, slots=True)
class _Details:
    """What Google's `details` add: `ErrorInfo`, `RetryInfo`, `BadRequest` and `QuotaFailure`."""

    reasons: tuple[str, ...] = ()
    field: str = ""
    wait_s: float | None = None

    @staticmethod
    def of(details: Any) -> _Details:
        reasons: list[str] = []
        field, wait_s = "", None
        for detail in details[:_DETAILS] if isinstance(details, list) else ():
            if not isinstance(detail, dict):
                continue
            if isinstance(reason := detail.get("reason"), str):
                reasons.append(reason)
            field = field or _first(detail.get("fieldViolations"), "field")
            wait_s = wait_s or duration_s(detail.get("retryDelay"))
            if "PerDay" in _first(detail.get("violations"), "quotaId"):
                reasons.append("DAILY_QUOTA")  # no wait that is worth it
        return _Details(tuple(reasons), field, wait_s)


def _first(items: Any, name: str) -> str:
    first = items[0] if isinstance(items, list) and items else None
    value = first.get(name) if isinstance(first, dict) else None
    return value if isinstance(value, str) else ""


def _counts(text: str) -> tuple[str, str]:
    """How many tokens there may be and how many were asked; each empty if it is not said."""
    for pattern in _BOTH:
        if found := pattern.search(text):
            named = found.groupdict()
            asked = str(int(named["asked"]) + int(named.get("more") or 0)) if named["asked"] else ""
            return named["limit"] or "", asked
    limit, requested = _LIMIT.search(text), _REQUESTED.search(text)
    return limit[1] if limit else "", requested[1] if requested else ""


def _word(value: Any, key: str) -> str:
    """The value if it is a single word of ASCII, and no key: what echoes a key may do so anywhere."""
    is_word = isinstance(value, str) and _WORD.fullmatch(value) and redacted(value, key) == value
    return str(value) if is_word else ""


def _count(value: Any) -> str:
    return str(value) if type(value) is int and 0 < value < 2**31 else ""
