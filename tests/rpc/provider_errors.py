"""The part of the error contract's table that is about providers: what they say on each wire, what a caller is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from grpc import StatusCode

from tests.fakeprov import Behaviour, behaviours
from tests.providers.misbehaving import WIRES, Talk, cut_off, framed

_KEY_WORDS = {"openai": "invalid_api_key", "anthropic": "authentication_error"}
_GOOGLE = "type.googleapis.com/google.rpc."


@dataclass(frozen=True)
class Row:
    """One symptom, and what has to be told of it."""

    name: str
    behave: Callable[[Talk], Behaviour]
    reason: str
    code: StatusCode
    details: frozenset[str] = frozenset()
    """Beside ErrorInfo, RequestInfo and RetryInfo."""

    retry_after_s: float | None = None
    """That a caller is told; -1: some time, and none in particular."""

    says: str = ""
    """In the message."""

    facts: dict[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    wires: tuple[str, ...] = WIRES
    endpoint: dict[str, Any] = field(default_factory=dict)
    metadata: tuple[tuple[str, str], ...] = ()


def google(code: int, status: str, message: str = "no", **details: Any) -> Behaviour:
    """A refusal as Google words it; of each detail its fields."""
    named = [{"@type": _GOOGLE + name} | fields for name, fields in details.items()]
    error = {"code": code, "message": message, "status": status, "details": named}
    return behaviours.status(code, {}, {"error": error})


def bad_key(talk: Talk) -> Behaviour:
    if talk.wire == "gemini":
        return google(400, "INVALID_ARGUMENT", "API key not valid.", ErrorInfo={"reason": "API_KEY_INVALID"})
    return talk.refuse(401, {}, _KEY_WORDS.get(talk.wire, ""))


def account(talk: Talk) -> Behaviour:
    match talk.wire:
        case "openai":
            return behaviours.status(403, {}, {"error": {"code": "unsupported_country_region_territory"}})
        case "anthropic":
            return talk.refuse(402, {}, "billing_error")
        case _:
            return google(400, "FAILED_PRECONDITION", "User location is not supported for the API use.")


def limited(talk: Talk) -> Behaviour:
    """Told to wait in the way of each: longer than it is waited for here, so that the caller is told at once."""
    match talk.wire:
        case "openai":
            return talk.refuse(429, {"x-ratelimit-reset-requests": "1m30s"}, "rate_limit_exceeded")
        case "gemini":
            return google(429, "RESOURCE_EXHAUSTED", RetryInfo={"retryDelay": "90s"})
        case _:
            return talk.refuse(429, {"retry-after": "90"}, "rate_limit_error")


def spent(talk: Talk) -> Behaviour:
    match talk.wire:
        case "openai":
            return talk.refuse(429, {}, "insufficient_quota")
        case "anthropic":
            return talk.refuse(429, {"retry-after": "9"}, "enforced_spend_limit_reached")
        case _:
            quota = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
            return google(429, "RESOURCE_EXHAUSTED", QuotaFailure=quota)


def too_long(talk: Talk) -> Behaviour:
    said = {
        "openai": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
        "anthropic": "prompt is too long: 9001 tokens > 8192 maximum",
        "gemini": "The input token count (9001) exceeds the maximum number of tokens allowed (8192).",
        "ollama": "the request exceeds the available context size",
    }
    return behaviours.status(400, {}, talk.error("invalid_request_error", said[talk.wire]))


def blocked(talk: Talk) -> Behaviour:
    if talk.wire == "gemini":
        return talk.stream(talk.event({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}))
    return behaviours.status(400, {}, {"error": {"code": "content_policy_violation", "message": "no"}})


def not_found(talk: Talk) -> Behaviour:
    if talk.wire == "openai":
        return behaviours.status(404, {}, {"error": {"code": "model_not_found", "message": "The model does not exist"}})
    return talk.refuse(404, {}, "not_found_error")


def rejected(talk: Talk) -> Behaviour:
    if talk.wire == "gemini":
        return google(400, "INVALID_ARGUMENT", BadRequest={"fieldViolations": [{"field": "top_p"}]})
    error = {"type": "invalid_request_error", "param": "top_p", "message": "no"}
    return behaviours.status(400, {}, {"error": error})


_NOT_OLLAMA = WIRES[:3]
_OWN_KEY: dict[str, Any] = {"keys": "caller"}
_BROUGHT = (("x-provider-key", "sk-of-the-caller"),)
_PARTIAL = {"partial": "true"}
_Does = Callable[[Talk], Behaviour]


def _unmet(name: str, behave: _Does, reason: str, **more: Any) -> Row:
    """The operator has to act."""
    return Row(name, behave, reason, StatusCode.FAILED_PRECONDITION, frozenset({"PreconditionFailure"}), **more)


def _later(name: str, behave: _Does, reason: str, retry_after_s: float = -1, **more: Any) -> Row:
    """Time may heal it."""
    return Row(name, behave, reason, StatusCode.UNAVAILABLE, retry_after_s=retry_after_s, **more)


def _never(name: str, behave: _Does, **more: Any) -> Row:
    """It makes no sense."""
    return Row(name, behave, "PROVIDER_PROTOCOL_ERROR", StatusCode.UNAVAILABLE, **more)


def _spent(name: str, behave: _Does, reason: str, **more: Any) -> Row:
    return Row(name, behave, reason, StatusCode.RESOURCE_EXHAUSTED, frozenset({"QuotaFailure"}), **more)


def _large(name: str, behave: _Does, **more: Any) -> Row:
    return Row(name, behave, "PROVIDER_RESPONSE_TOO_LARGE", StatusCode.RESOURCE_EXHAUSTED, **more)


def _wrong(name: str, behave: _Does, reason: str, *fields: str, **more: Any) -> Row:
    """The caller has to ask for something else."""
    details = frozenset({"BadRequest"}) if fields else frozenset[str]()
    return Row(name, behave, reason, StatusCode.INVALID_ARGUMENT, details, fields=fields, **more)


def _callers_key(name: str, behave: _Does, **more: Any) -> Row:
    code = StatusCode.UNAUTHENTICATED
    return Row(name, behave, "PROVIDER_CALLER_KEY_INVALID", code, says="invalid api key", endpoint=_OWN_KEY, **more)


def _status(status: int) -> Row:
    facts = {"httpStatus": str(status)}
    return _later(str(status), lambda talk: talk.refuse(status), "PROVIDER_ERROR", facts=facts)


def _failed_to_load(talk: Talk) -> Behaviour:
    return behaviours.status(500, {}, talk.error(message="model requires more system memory (9 GiB)"))


#: Everything a provider can do before the first token, and what it can do after it.
TABLE = [
    _unmet("a bad key of the operator's", bad_key, "PROVIDER_API_KEY_INVALID", says="invalid api key"),
    _callers_key("a bad key of the caller's", bad_key, metadata=_BROUGHT),
    _callers_key("no key of the caller's", Talk.reply),
    _unmet("no key", Talk.reply, "PROVIDER_NOT_CONFIGURED", endpoint={"api_key_env": "NO_SUCH_KEY"}),
    Row("403", lambda talk: talk.refuse(403), "PROVIDER_PERMISSION_DENIED", StatusCode.PERMISSION_DENIED),
    _unmet("an account", account, "PROVIDER_ACCOUNT_PROBLEM", wires=_NOT_OLLAMA),
    _spent("a rate limit", limited, "PROVIDER_RATE_LIMITED", retry_after_s=90.0, says="rate limit"),
    _spent("a spent quota", spent, "PROVIDER_QUOTA_EXHAUSTED", wires=_NOT_OLLAMA),
    _later("503", lambda talk: talk.refuse(503, {"retry-after": "90"}), "PROVIDER_OVERLOADED", 90.0),
    _later("529", lambda talk: talk.refuse(529), "PROVIDER_OVERLOADED"),
    *map(_status, (408, 409, 499, 500, 502, 504, 520, 524)),
    _wrong("400", rejected, "PROVIDER_REJECTED_REQUEST", "top_p", wires=_NOT_OLLAMA),
    _wrong("422", lambda talk: talk.refuse(422), "PROVIDER_REJECTED_REQUEST"),
    _wrong(
        "too long",
        too_long,
        "CONTEXT_LENGTH_EXCEEDED",
        "messages",
        says="context length",
        facts={"limitTokens": "8192", "requestedTokens": "9001"},
        wires=_NOT_OLLAMA,
    ),
    _wrong(
        "too long, and no numbers",
        too_long,
        "CONTEXT_LENGTH_EXCEEDED",
        "messages",
        says="context length",
        wires=("ollama",),
    ),
    Row(
        "no such model",
        not_found,
        "MODEL_NOT_FOUND",
        StatusCode.NOT_FOUND,
        frozenset({"ResourceInfo"}),
        facts={"model": "gpt-x"},
    ),
    _wrong("413", lambda talk: talk.refuse(413), "PROVIDER_REQUEST_TOO_LARGE", "messages"),
    _unmet("blocked content", blocked, "CONTENT_BLOCKED", wires=("openai", "gemini")),
    _later("a hang-up", lambda _: behaviours.hang_up(with_reset=True), "PROVIDER_UNREACHABLE"),
    _later(
        "silence",
        lambda _: behaviours.silent(),
        "PROVIDER_TIMEOUT",
        facts={"phase": "first_byte", "timeoutMs": "200"},
        endpoint={"first_byte_s": 0.2},
    ),
    _never("HTML", lambda _: behaviours.status(200, {"content-type": "text/html"}, b"<html>"), says="text/html"),
    _never("no JSON", lambda talk: talk.stream(talk.broken)),
    _large("a packed reply", lambda talk: talk.stream(talk.good, {"content-encoding": "gzip"})),
    _large("a long line", lambda talk: talk.stream(b"x" * 2**21), facts={"limitBytes": "1048576"}),
    _unmet("a redirect", lambda _: behaviours.status(302, {"location": "http://x/"}), "PROVIDER_REDIRECT_REFUSED"),
    _unmet("no room for a model", _failed_to_load, "MODEL_LOAD_FAILED", wires=("ollama",)),
    _later(
        "a model that is loading",
        lambda talk: behaviours.status(503, {}, talk.error(message="Loading model")),
        "MODEL_LOADING",
        wires=("openai",),
    ),
    _later("it breaks off", lambda talk: talk.stream(talk.begun), "PROVIDER_STREAM_TRUNCATED", facts=_PARTIAL),
    _later("it resets", lambda talk: cut_off(talk, "reset"), "PROVIDER_STREAM_TRUNCATED", facts=_PARTIAL),
    _later(
        "it falls silent",
        lambda talk: behaviours.silent(talk.chunked + framed(talk.begun)),
        "PROVIDER_STREAM_STALLED",
        facts=_PARTIAL,
        endpoint={"idle_s": 1.0},
    ),
]
