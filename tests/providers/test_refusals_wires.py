"""What the refusals of Anthropic, Google and Cohere mean: the table of statuses and bodies."""

from __future__ import annotations

from typing import Any

import pytest

from stepwired.errors import Failure, InvalidRequest, Misconfigured, NotFound, Reason, Throttled, Unavailable
from stepwired.providers.refusing.refusals import Asked, of_event
from tests.providers.test_refusals import ASKED, refuse


def typed(kind: str, message: str = "no") -> dict[str, Any]:
    """As Anthropic says it."""
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def google(code: int, status: str, message: str = "no", **details: Any) -> dict[str, Any]:
    """As Google says it; of each detail its fields."""
    named = [{"@type": f"type.googleapis.com/google.rpc.{name}"} | fields for name, fields in details.items()]
    return {"error": {"code": code, "message": message, "status": status, "details": named}}


LONG = "The input token count (3475108) exceeds the maximum number of tokens allowed (1048576)."
DAILY = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
SPENT = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."
LIMITED = "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."

ANTHROPIC: list[tuple[int, Any, Reason, type[Failure]]] = [
    (401, typed("authentication_error", "invalid x-api-key"), Reason.PROVIDER_API_KEY_INVALID, Misconfigured),
    (402, typed("billing_error"), Reason.PROVIDER_ACCOUNT_PROBLEM, Misconfigured),
    (403, typed("permission_error"), Reason.PROVIDER_PERMISSION_DENIED, Misconfigured),
    (404, typed("not_found_error", "model: claude-x"), Reason.MODEL_NOT_FOUND, NotFound),
    (409, typed("conflict_error"), Reason.PROVIDER_ERROR, Unavailable),
    (413, typed("request_too_large"), Reason.PROVIDER_REQUEST_TOO_LARGE, InvalidRequest),
    (429, typed("rate_limit_error"), Reason.PROVIDER_QUOTA_EXHAUSTED, Throttled),
    (429, typed("enforced_spend_limit_reached"), Reason.PROVIDER_QUOTA_EXHAUSTED, Throttled),
    (400, typed("invalid_request_error", SPENT), Reason.PROVIDER_QUOTA_EXHAUSTED, Throttled),
    (400, typed("invalid_request_error", LIMITED), Reason.PROVIDER_QUOTA_EXHAUSTED, Throttled),
    (400, typed("invalid_request_error"), Reason.PROVIDER_REJECTED_REQUEST, InvalidRequest),
    (500, typed("api_error"), Reason.PROVIDER_ERROR, Unavailable),
    (504, typed("timeout_error"), Reason.PROVIDER_ERROR, Unavailable),
    (529, typed("overloaded_error", "Overloaded"), Reason.PROVIDER_OVERLOADED, Unavailable),
]
GOOGLE: list[tuple[int, Any, Reason, type[Failure]]] = [
    (
        400,
        google(400, "INVALID_ARGUMENT", "API key not valid.", ErrorInfo={"reason": "API_KEY_INVALID"}),
        Reason.PROVIDER_API_KEY_INVALID,
        Misconfigured,
    ),
    (
        400,
        google(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
        Reason.PROVIDER_ACCOUNT_PROBLEM,
        Misconfigured,
    ),
    (400, google(400, "INVALID_ARGUMENT"), Reason.PROVIDER_REJECTED_REQUEST, InvalidRequest),
    (400, google(400, "INVALID_ARGUMENT", LONG), Reason.CONTEXT_LENGTH_EXCEEDED, InvalidRequest),
    (
        400,
        google(400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes."),
        Reason.PROVIDER_REQUEST_TOO_LARGE,
        InvalidRequest,
    ),
    (403, google(403, "PERMISSION_DENIED"), Reason.PROVIDER_PERMISSION_DENIED, Misconfigured),
    (404, google(404, "NOT_FOUND", "models/x is not found for API version v1beta"), Reason.MODEL_NOT_FOUND, NotFound),
    (429, google(429, "RESOURCE_EXHAUSTED"), Reason.PROVIDER_RATE_LIMITED, Throttled),
    (429, google(429, "RESOURCE_EXHAUSTED", QuotaFailure=DAILY), Reason.PROVIDER_QUOTA_EXHAUSTED, Throttled),
    (429, [google(429, "RESOURCE_EXHAUSTED")], Reason.PROVIDER_RATE_LIMITED, Throttled),
    (499, google(499, "CANCELLED"), Reason.PROVIDER_ERROR, Unavailable),
    (500, google(500, "INTERNAL"), Reason.PROVIDER_ERROR, Unavailable),
    (503, google(503, "UNAVAILABLE", "The model is overloaded."), Reason.PROVIDER_OVERLOADED, Unavailable),
    (504, google(504, "DEADLINE_EXCEEDED"), Reason.PROVIDER_ERROR, Unavailable),
]
COHERE: list[tuple[int, Any, Reason, type[Failure]]] = [
    (400, {"message": "too many tokens: text 0 has 600"}, Reason.CONTEXT_LENGTH_EXCEEDED, InvalidRequest),
    (401, {"message": "invalid api token"}, Reason.PROVIDER_API_KEY_INVALID, Misconfigured),
    (404, {"message": "model 'embed-x' not found"}, Reason.MODEL_NOT_FOUND, NotFound),
    (422, {"message": "invalid type"}, Reason.PROVIDER_REJECTED_REQUEST, InvalidRequest),
    (429, {"message": "a Trial key is limited to 100 API calls / minute"}, Reason.PROVIDER_RATE_LIMITED, Throttled),
    (429, {"message": "a Trial key is limited to 1000 API calls / month"}, Reason.PROVIDER_QUOTA_EXHAUSTED, Throttled),
    (499, {"message": "request cancelled"}, Reason.PROVIDER_ERROR, Unavailable),
]


@pytest.mark.parametrize(("status", "body", "reason", "kind"), ANTHROPIC + GOOGLE + COHERE)
def test_each_refusal_has_its_reason(status: int, body: Any, reason: Reason, kind: type[Failure]) -> None:
    failure = refuse(status, body)
    assert (failure.reason, type(failure)) == (reason, kind)
    assert failure.metadata["httpStatus"] == str(status)


@pytest.mark.parametrize(
    ("message", "limit", "asked"),
    [
        ("prompt is too long: 208310 tokens > 200000 maximum", "200000", "208310"),
        (
            "input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000, decrease input length",
            "200000",
            "207951",
        ),
        (LONG, "1048576", "3475108"),
    ],
)
def test_a_context_that_is_too_long_is_told_with_both_numbers_in_everybodys_words(
    message: str, limit: str, asked: str
) -> None:
    failure = refuse(400, typed("invalid_request_error", message))
    assert failure.reason is Reason.CONTEXT_LENGTH_EXCEEDED
    assert (failure.metadata["limitTokens"], failure.metadata["requestedTokens"]) == (limit, asked)


@pytest.mark.parametrize(("delay", "wait_s"), [("34.5s", 34.5), ("0.2s", 0.2), ("soon", 5.0), ("-1s", 5.0), (7, 5.0)])
def test_google_says_in_the_body_when_to_come_back(delay: Any, wait_s: float) -> None:
    body = google(429, "RESOURCE_EXHAUSTED", Help={}, RetryInfo={"retryDelay": delay})
    assert refuse(429, body).retry_after_s == wait_s
    assert refuse(429, body, retry_after="2").retry_after_s == 2.0


def test_anthropic_names_a_time_unless_the_money_is_spent() -> None:
    limited = refuse(429, typed("rate_limit_error"), retry_after="3")
    assert (limited.reason, limited.retry_after_s) == (Reason.PROVIDER_RATE_LIMITED, 3.0)
    assert refuse(429, typed("rate_limit_error"), retry_after="nonsense").reason is Reason.PROVIDER_RATE_LIMITED
    assert of_event(ASKED, typed("rate_limit_error")).reason is Reason.PROVIDER_RATE_LIMITED


def test_google_names_the_field() -> None:
    body = google(400, "INVALID_ARGUMENT", BadRequest={"fieldViolations": [{"field": "contents[0].parts"}]})
    assert [violation.field for violation in refuse(400, body).violations] == ["contents[0].parts"]


@pytest.mark.parametrize(("texts", "first", "field"), [(2, 0, "texts[1]"), (2, 96, "texts[97]"), (1, 0, "texts")])
def test_a_text_is_named_by_its_place_among_all_that_the_caller_gave(texts: int, first: int, field: str) -> None:
    asked = Asked("acme", "e", texts=texts, first_text=first)
    for param in ("input[1]", "requests[1].content"):
        failure = of_event(asked, {"error": {"type": "invalid_request_error", "param": param}})
        assert [violation.field for violation in failure.violations] == [field]
