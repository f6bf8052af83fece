"""Tells what a provider's refusal means: HTTP status and error body in, `Failure` out (OpenAI-style bodies)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stepwired.errors import (
    Failure,
    InvalidRequest,
    Misconfigured,
    NotFound,
    Reason,
    Subject,
    Throttled,
    Unavailable,
    Violation,
)
from stepwired.providers.retry_after import retry_after_s

BODY_BYTES = 64 * 1024
"""As much of an error's body is read."""

_CONTEXT = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_CONTENT = frozenset({"content_filter", "content_policy_violation", "moderation_blocked"})
_KEY = frozenset({"invalid_api_key", "authentication_error", "invalid_authentication"})
_QUOTA = frozenset(
    {"insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached", "enforced_spend_limit_reached"}
)
_ACCOUNT = frozenset(
    {"billing_error", "billing_not_active", "account_deactivated", "unsupported_country_region_territory"}
)
_OVERLOADED = frozenset({"overloaded_error", "server_is_overloaded", "slow_down", "engine_overloaded"})

#: The status that a word means where an error comes without one, inside a stream that began with 200.
_STATUS_OF = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "request_too_large": 413,
}

_CONTEXT_TEXT = re.compile(
    r"maximum context length|context length exceed|exceeds? the (?:available )?context", re.IGNORECASE
)
_LIMIT = re.compile(r"maximum context length is (\d{1,9})\b", re.IGNORECASE)
_REQUESTED = re.compile(r"(?:resulted in|requested|contains(?: at least)?) (\d{1,9}) ", re.IGNORECASE)
_SECRETS = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf)[-_][\w*.-]{6,}|\bAIza[\w*-]+|\bBearer\s+\S+|key=[^\s&]+|://[^\s/@]+@", re.IGNORECASE
)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_INPUT = re.compile(r"input(\[\d{1,6}\])?")
_WORD = re.compile(r"[A-Za-z0-9_.\[\]-]{1,64}")


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom we asked for what: named in the failure, and the key, so that it can be taken out of what came back."""

    provider: str
    model: str
    key: str = field(default="", repr=False)
    texts: int = 0
    """How many it was asked to embed; 0 for a chat."""

    @property
    def subject(self) -> Subject:
        return Subject("provider", f"{self.provider}:{self.model}")


@dataclass(frozen=True, slots=True)
class _Said:
    """An error body, as far as we understand it; everything in it is the provider's word."""

    status: int
    words: frozenset[str] = frozenset()
    code: str = ""
    message: str = ""
    param: str = ""
    limit_tokens: str = ""
    requested_tokens: str = ""


def of_response(asked: Asked, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """The failure that an answer other than 200 means.

    Args:
        asked: Whom we asked.
        status: HTTP status.
        headers: Of the response; names in any case, if the mapping does not mind.
        body: Its start, `BODY_BYTES` at most; anything, also nothing.
    """
    try:
        error = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        error = None
    return _failure(asked, _said(asked.key, status, error), retry_after_s(headers))


def of_event(asked: Asked, error: Any) -> Failure:
    """The failure that an error object inside a stream means: what the same body would mean with its HTTP status."""
    return _failure(asked, _said(asked.key, 0, error), None)


def redacted(text: str, key: str) -> str:
    """At most 300 characters of what a provider said, on one line and without keys."""
    if len(key) >= 4:
        text = text.replace(key, "***")
    text = _SECRETS.sub("***", _UNPRINTABLE.sub(" ", text[:4096]))
    return text if len(text) <= 300 else text[:299] + "…"


def _said(key: str, status: int, body: Any) -> _Said:
    """Find the error in the shapes that servers use: `{"error": {…}}`, `{"error": "…"}`, `{"message": …}`, a list."""
    if isinstance(body, list) and body:
        body = body[0]
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        error = {"message": error}
    code, kind = error.get("code"), error.get("type")
    message = error.get("message")
    text = message if isinstance(message, str) else ""
    words = frozenset(word.lower() for word in (code, kind) if isinstance(word, str))
    if not status:
        status = code if isinstance(code, int) and 400 <= code <= 599 else 0
        status = status or next((_STATUS_OF[word] for word in words if word in _STATUS_OF), 500)
    limit, requested = _LIMIT.search(text), _REQUESTED.search(text)
    return _Said(
        status=status,
        words=words,
        code=_word(code if isinstance(code, str) else kind, key),
        message=text,
        param=_word(error.get("param"), key),
        limit_tokens=_count(error.get("n_ctx")) or (limit[1] if limit else ""),
        requested_tokens=_count(error.get("n_prompt_tokens")) or (requested[1] if requested else ""),
    )


def _word(value: Any, key: str) -> str:
    """The value if it is a single word of ASCII, and no key: what echoes a key may do so anywhere."""
    is_word = isinstance(value, str) and _WORD.fullmatch(value) and redacted(value, key) == value
    return str(value) if is_word else ""


def _count(value: Any) -> str:
    return str(value) if type(value) is int and 0 < value < 2**31 else ""


def _field(asked: Asked, said: _Said) -> str:
    """Which of the texts to embed a provider means, in our words; nothing for a chat.

    Of a text that was sent alone the number says nothing: it may have been one of many before.
    """
    if not asked.texts:
        return ""
    named = _INPUT.fullmatch(said.param)
    return f"texts{named[1]}" if named and named[1] and asked.texts > 1 else "texts"


def _failure(asked: Asked, said: _Said, wait_s: float | None) -> Failure:
    facts = {"provider": asked.provider, "httpStatus": str(said.status)}
    if said.code:
        facts["providerCode"] = said.code
    if said.message:
        facts["providerMessage"] = redacted(said.message, asked.key)
    return (
        _about_the_request(asked, said, facts)
        or _about_the_account(asked, said, facts)
        or _about_the_moment(asked, said, facts, wait_s)
        or _about_anything_else(asked, said, facts)
    )


def _about_the_request(asked: Asked, said: _Said, facts: dict[str, str]) -> Failure | None:
    """What the caller can change. First, because servers say it with all kinds of statuses."""
    if said.words & _CONTEXT or (said.status in (400, 413, 422, 500) and _CONTEXT_TEXT.search(said.message)):
        counts = {"limitTokens": said.limit_tokens, "requestedTokens": said.requested_tokens}
        what = "a text exceeds" if asked.texts else "the messages exceed"
        text = f"{what} the context length of {asked.model}"
        if said.limit_tokens:
            text += f", {said.limit_tokens} tokens"
        return InvalidRequest(
            Reason.CONTEXT_LENGTH_EXCEEDED,
            text,
            metadata=facts | {name: count for name, count in counts.items() if count},
            violations=[Violation(_field(asked, said) or "messages", text, Reason.CONTEXT_LENGTH_EXCEEDED)],
        )
    if said.words & _CONTENT:
        text = f"{asked.provider} will not answer this content"
        return InvalidRequest(Reason.CONTENT_BLOCKED, text, metadata=facts, subject=asked.subject)
    if said.status == 413:
        text = f"the request is larger than {asked.provider} takes"
        return InvalidRequest(Reason.PROVIDER_REQUEST_TOO_LARGE, text, metadata=facts)
    if said.status == 404 and ("model" in said.message.lower() or "model_not_found" in said.words):
        return NotFound(
            Reason.MODEL_NOT_FOUND,
            f"{asked.provider} has no model {asked.model}",
            metadata=facts | {"model": asked.model},
            subject=Subject("model", asked.model),
        )
    return None


def _about_the_account(asked: Asked, said: _Said, facts: dict[str, str]) -> Failure | None:
    """What the operator of this server can change."""
    if said.words & _QUOTA:
        text = f"the quota of this server's account at {asked.provider} is used up"
        return Throttled(Reason.PROVIDER_QUOTA_EXHAUSTED, text, metadata=facts, subject=asked.subject)
    if said.status == 402 or said.words & _ACCOUNT:
        reason, text = Reason.PROVIDER_ACCOUNT_PROBLEM, f"{asked.provider} does not serve this server's account"
    elif said.status == 401 or said.words & _KEY:
        reason, text = Reason.PROVIDER_API_KEY_INVALID, f"invalid api key: {asked.provider} refused the configured one"
    elif said.status == 403:
        reason, text = Reason.PROVIDER_PERMISSION_DENIED, f"{asked.provider} does not allow its key to do this"
    else:
        return None
    return Misconfigured(reason, text, metadata=facts, subject=asked.subject)


def _about_the_moment(asked: Asked, said: _Said, facts: dict[str, str], wait_s: float | None) -> Failure | None:
    """What time heals."""
    if said.status == 429:
        text = f"the rate limit of {asked.provider} for {asked.model} was reached"
        return Throttled(
            Reason.PROVIDER_RATE_LIMITED, text, metadata=facts, retry_after_s=wait_s, subject=asked.subject
        )
    if said.status == 503 and "loading model" in said.message.lower():
        reason, text = Reason.MODEL_LOADING, f"{asked.provider} is still loading {asked.model}"
        facts["model"] = asked.model
    elif said.status in (503, 529) or said.words & _OVERLOADED:
        reason, text = Reason.PROVIDER_OVERLOADED, f"{asked.provider} has too much to do"
    elif said.status in (408, 409, 425) or 500 <= said.status <= 599:
        reason, text = Reason.PROVIDER_ERROR, f"{asked.provider} failed with HTTP status {said.status}"
    else:
        return None
    return Unavailable(reason, text, metadata=facts, retry_after_s=wait_s, subject=asked.subject)


def _about_anything_else(asked: Asked, said: _Said, facts: dict[str, str]) -> Failure:
    understood = said.words or said.message
    if said.status in (400, 422) or (400 <= said.status <= 499 and said.status != 404 and understood):
        text = f"{asked.provider} rejected the request"
        text += f" with code {said.code}" if said.code else f" with HTTP status {said.status}"
        where = said.param and (_field(asked, said) or said.param)
        violations = [Violation(where, text, Reason.PROVIDER_REJECTED_REQUEST)] if where else []
        return InvalidRequest(Reason.PROVIDER_REJECTED_REQUEST, text, metadata=facts, violations=violations)
    return Unavailable(
        Reason.PROVIDER_PROTOCOL_ERROR,
        f"{asked.provider} answered with HTTP status {said.status}, which does not belong here: check its base_url",
        metadata=facts,
        subject=asked.subject,
    )
