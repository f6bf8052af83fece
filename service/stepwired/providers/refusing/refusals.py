"""Tells what a provider's refusal means: HTTP status and error body in, `Failure` out (every wire's)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
from stepwired.providers.refusing.error_body import Said, read, redacted
from stepwired.providers.refusing.retry_after import retry_after_s

BODY_BYTES = 64 * 1024
"""As much of an error's body is read."""

_CONTEXT = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_CONTENT = frozenset({"content_filter", "content_policy_violation", "moderation_blocked"})
_KEY = frozenset({"invalid_api_key", "authentication_error", "invalid_authentication", "api_key_invalid"})
_QUOTA = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "billing_hard_limit_reached",
        "enforced_spend_limit_reached",
        "daily_quota",
    }
)
_ACCOUNT = frozenset(
    {
        "billing_error",
        "billing_not_active",
        "account_deactivated",
        "unsupported_country_region_territory",
        "failed_precondition",
    }
)
_OVERLOADED = frozenset({"overloaded_error", "server_is_overloaded", "slow_down", "engine_overloaded"})

_CONTEXT_TEXT = re.compile(
    r"maximum context length|context length exceed|exceeds? the (?:available )?context|prompt is too long"
    r"|exceed context limit|input token count.{0,24} exceeds the maximum|too many tokens",
    re.IGNORECASE,
)
_SPENT_TEXT = re.compile(
    r"credit balance is too low|spend(?:ing)? limit|specified (?:workspace )?API usage limit|API calls / month",
    re.IGNORECASE,
)
_SIZE_TEXT = re.compile(r"payload size exceeds the limit", re.IGNORECASE)
_INPUT = re.compile(r"(?:input|requests)(?:\[(\d{1,6})\])?(?:\..*)?")


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom we asked for what: named in the failure, and the key, so that it can be taken out of what came back."""

    provider: str
    model: str
    key: str = field(default="", repr=False)
    texts: int = 0
    """How many it was asked to embed; 0 for a chat."""

    first_text: int = 0
    """Which of the caller's texts is the first of these."""

    is_callers: bool = False
    """Whether the key is the caller's, and so the account: not this server's."""

    @property
    def subject(self) -> Subject:
        return Subject("provider", f"{self.provider}:{self.model}")


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
    said = read(asked.key, status, error)
    wait_s = retry_after_s(headers, status=status) or said.wait_s
    if status == 429 and said.is_typed and wait_s is None and not headers.get("retry-after"):
        said = replace(said, words=said.words | _QUOTA)  # Anthropic names a time, unless the money is spent
    return _failure(asked, said, wait_s)


def of_event(asked: Asked, error: Any) -> Failure:
    """The failure that an error object inside a stream means: what the same body would mean with its HTTP status."""
    return _failure(asked, read(asked.key, 0, error), None)


def _field(asked: Asked, said: Said) -> str:
    """Which of the texts to embed a provider means, in our words; nothing for a chat.

    Of a text that was sent alone the number says nothing: it may have been one of many before.
    """
    if not asked.texts:
        return ""
    named = _INPUT.fullmatch(said.param)
    if not named or not named[1] or asked.texts + asked.first_text < 2:
        return "texts"
    return f"texts[{int(named[1]) + asked.first_text}]"


def _failure(asked: Asked, said: Said, wait_s: float | None) -> Failure:
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


def _about_the_request(asked: Asked, said: Said, facts: dict[str, str]) -> Failure | None:
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
    if said.status == 413 or (said.status == 400 and _SIZE_TEXT.search(said.message)):
        text = f"the request is larger than {asked.provider} takes"
        violation = Violation(_field(asked, said) or "messages", text, Reason.PROVIDER_REQUEST_TOO_LARGE)
        return InvalidRequest(Reason.PROVIDER_REQUEST_TOO_LARGE, text, metadata=facts, violations=[violation])
    if said.status == 404 and ("model" in said.message.lower() or "model_not_found" in said.words):
        return NotFound(
            Reason.MODEL_NOT_FOUND,
            f"{asked.provider} has no model {asked.model}",
            metadata=facts | {"model": asked.model},
            subject=Subject("model", asked.model),
        )
    return None


def _about_the_account(asked: Asked, said: Said, facts: dict[str, str]) -> Failure | None:
    """What the owner of the key can change: the operator of this server, or the caller who brought it."""
    provider = asked.provider
    account = "the account whose key came with this call" if asked.is_callers else "this server's account"
    key = "the key that came with this call" if asked.is_callers else "its key"
    if said.words & _QUOTA or (said.status in (400, 403, 429) and _SPENT_TEXT.search(said.message)):
        text = f"the quota of {account} at {provider} is used up"
        return Throttled(Reason.PROVIDER_QUOTA_EXHAUSTED, text, metadata=facts, subject=asked.subject)
    if said.status == 402 or said.words & _ACCOUNT:
        reason, text = Reason.PROVIDER_ACCOUNT_PROBLEM, f"{provider} does not serve {account}"
    elif said.status == 401 or said.words & _KEY:
        if asked.is_callers:
            return _callers_key(provider, facts)
        reason, text = Reason.PROVIDER_API_KEY_INVALID, f"invalid api key: {provider} refused the configured one"
    elif said.status == 403:
        reason, text = Reason.PROVIDER_PERMISSION_DENIED, f"{provider} does not allow {key} to do this"
    else:
        return None
    return Misconfigured(reason, text, metadata=facts, subject=asked.subject)


def _callers_key(provider: str, facts: Mapping[str, str]) -> Failure:
    text = f"invalid api key: {provider} refused the key that came with this call"
    known = {key: value for key, value in facts.items() if key in {"provider", "httpStatus"}}
    return InvalidRequest(Reason.PROVIDER_CALLER_KEY_INVALID, text, metadata=known)


def _about_the_moment(asked: Asked, said: Said, facts: dict[str, str], wait_s: float | None) -> Failure | None:
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
    elif said.status in (408, 409, 425, 499) or 500 <= said.status <= 599:
        reason, text = Reason.PROVIDER_ERROR, f"{asked.provider} failed with HTTP status {said.status}"
    else:
        return None
    return Unavailable(reason, text, metadata=facts, retry_after_s=wait_s, subject=asked.subject)


def _about_anything_else(asked: Asked, said: Said, facts: dict[str, str]) -> Failure:
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
