"""What a refusal means: the table of statuses and bodies."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwired.errors import Failure, InvalidRequest, Misconfigured, NotFound, Reason, Throttled, Unavailable
from stepwired.providers.refusing import error_body
from stepwired.providers.refusing.error_body import redacted
from stepwired.providers.refusing.refusals import Asked, of_event, of_response

ASKED = Asked("acme", "gpt-x", "sk-live-1234567890")


def error(message: str = "no", **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message} | fields}


def refuse(status: int, body: Any = None, **headers: str) -> Failure:
    data = body if isinstance(body, bytes) else json.dumps(body if body is not None else error()).encode()
    return of_response(ASKED, status, {name.replace("_", "-"): value for name, value in headers.items()}, data)


TABLE: list[tuple[int, Any, Reason, type[Failure]]] = [
    (401, error(code="invalid_api_key", type="invalid_request_error"), Reason.PROVIDER_API_KEY_INVALID, Misconfigured),
    (401, b"", Reason.PROVIDER_API_KEY_INVALID, Misconfigured),
    (402, error(), Reason.PROVIDER_ACCOUNT_PROBLEM, Misconfigured),
    (403, error(), Reason.PROVIDER_PERMISSION_DENIED, Misconfigured),
    (403, error(code="unsupported_country_region_territory"), Reason.PROVIDER_ACCOUNT_PROBLEM, Misconfigured),
    (404, error("The model `gpt-x` does not exist", code="model_not_found"), Reason.MODEL_NOT_FOUND, NotFound),
    (404, error('model "x" not found, try pulling it first', type="api_error"), Reason.MODEL_NOT_FOUND, NotFound),
    (
        404,
        {"object": "error", "message": "The model `x` does not exist.", "code": 404},
        Reason.MODEL_NOT_FOUND,
        NotFound,
    ),
    (404, b"<html>Not Found</html>", Reason.PROVIDER_PROTOCOL_ERROR, Unavailable),
    (404, {"detail": "Not Found"}, Reason.PROVIDER_PROTOCOL_ERROR, Unavailable),
    (408, error(), Reason.PROVIDER_ERROR, Unavailable),
    (409, error(type="conflict_error"), Reason.PROVIDER_ERROR, Unavailable),
    (413, error(), Reason.PROVIDER_REQUEST_TOO_LARGE, InvalidRequest),
    (400, error(type="invalid_request_error", param="top_p"), Reason.PROVIDER_REJECTED_REQUEST, InvalidRequest),
    (422, {"detail": [{"loc": ["body"]}]}, Reason.PROVIDER_REJECTED_REQUEST, InvalidRequest),
    (429, error(code="rate_limit_exceeded"), Reason.PROVIDER_RATE_LIMITED, Throttled),
    (429, b"slow down", Reason.PROVIDER_RATE_LIMITED, Throttled),
    (429, error(code="insufficient_quota"), Reason.PROVIDER_QUOTA_EXHAUSTED, Throttled),
    (429, error(type="insufficient_quota"), Reason.PROVIDER_QUOTA_EXHAUSTED, Throttled),
    (500, error(type="server_error"), Reason.PROVIDER_ERROR, Unavailable),
    (502, b"<html>", Reason.PROVIDER_ERROR, Unavailable),
    (503, error(), Reason.PROVIDER_OVERLOADED, Unavailable),
    (503, error("Loading model", type="unavailable_error", code=503), Reason.MODEL_LOADING, Unavailable),
    (504, error(), Reason.PROVIDER_ERROR, Unavailable),
    (529, error(type="overloaded_error"), Reason.PROVIDER_OVERLOADED, Unavailable),
    (520, b"", Reason.PROVIDER_ERROR, Unavailable),
    (524, b"", Reason.PROVIDER_ERROR, Unavailable),
    (400, error(code="context_length_exceeded"), Reason.CONTEXT_LENGTH_EXCEEDED, InvalidRequest),
    (500, error("the request exceeds the available context size"), Reason.CONTEXT_LENGTH_EXCEEDED, InvalidRequest),
    (400, error(code="content_filter"), Reason.CONTENT_BLOCKED, InvalidRequest),
    (400, error(code="content_policy_violation"), Reason.CONTENT_BLOCKED, InvalidRequest),
    (204, b"", Reason.PROVIDER_PROTOCOL_ERROR, Unavailable),
    (600, b"", Reason.PROVIDER_PROTOCOL_ERROR, Unavailable),
]


@pytest.mark.parametrize(("status", "body", "reason", "kind"), TABLE)
def test_each_refusal_has_its_reason(status: int, body: Any, reason: Reason, kind: type[Failure]) -> None:
    failure = refuse(status, body)
    assert (failure.reason, type(failure)) == (reason, kind)
    assert failure.metadata["provider"] == "acme"
    assert failure.metadata["httpStatus"] == str(status)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"message": "slow", "type": "rate_limit_error"}, Reason.PROVIDER_RATE_LIMITED),
        ({"message": "busy", "type": "overloaded_error"}, Reason.PROVIDER_OVERLOADED),
        ({"message": "no", "code": "insufficient_quota"}, Reason.PROVIDER_QUOTA_EXHAUSTED),
        ({"message": "bad", "code": 400}, Reason.PROVIDER_REJECTED_REQUEST),
        ({"message": "gateway", "code": 502}, Reason.PROVIDER_ERROR),
        ({"type": "error", "error": {"type": "overloaded_error"}}, Reason.PROVIDER_OVERLOADED),
        ("something broke", Reason.PROVIDER_ERROR),
        (None, Reason.PROVIDER_ERROR),
        ([], Reason.PROVIDER_ERROR),
        ({"code": True, "type": [], "message": {}}, Reason.PROVIDER_ERROR),
    ],
)
def test_an_error_inside_a_stream_means_what_its_status_would(said: Any, reason: Reason) -> None:
    assert of_event(ASKED, said).reason is reason


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"type": "invalid_request_error", "code": "model_not_found"}, Reason.MODEL_NOT_FOUND),
        ({"type": "model_not_found", "code": "Invalid_Request_Error"}, Reason.MODEL_NOT_FOUND),
        ({"type": "invalid_request_error", "code": "rate_limit_exceeded"}, Reason.PROVIDER_RATE_LIMITED),
        ({"type": "model_not_found", "code": "rate_limit_exceeded"}, Reason.PROVIDER_RATE_LIMITED),
        ({"type": "rate_limit_exceeded", "code": "model_not_found"}, Reason.MODEL_NOT_FOUND),
        ({"type": "permission_error", "status": "not_found_error"}, Reason.PROVIDER_PERMISSION_DENIED),
        ({"type": "invalid_request_error", "code": "what_is_this"}, Reason.PROVIDER_REJECTED_REQUEST),
    ],
)
@pytest.mark.parametrize("seed", range(4))  # of the order in which words lie in a set
def test_of_several_words_the_one_that_says_most_decides_whatever_lies_first_in_memory(
    said: dict[str, str], reason: Reason, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(error_body, "frozenset", partial(_Shuffled, random.Random(seed)), raising=False)
    assert of_event(ASKED, {"message": "no"} | said).reason is reason


class _Shuffled(frozenset[str]):
    """A set that is walked through in an order of its own, as in another process."""

    __slots__ = ("_dice",)

    def __new__(cls, _: random.Random, words: Iterable[str] = ()) -> _Shuffled:
        return super().__new__(cls, words)

    def __init__(self, dice: random.Random, _: Iterable[str] = ()) -> None:
        self._dice = dice

    def __iter__(self) -> Iterator[str]:
        words = sorted(super().__iter__())
        self._dice.shuffle(words)
        return iter(words)


@pytest.mark.parametrize(
    ("status", "body"), [(429, error(code="insufficient_quota")), (402, error()), (403, error()), (401, error())]
)
def test_whose_account_it_is_that_a_provider_refuses_is_said(status: int, body: Any) -> None:
    ours = refuse(status, body)
    theirs = of_response(replace(ASKED, is_callers=True), status, {}, json.dumps(body).encode())
    assert "came with this call" in str(theirs)
    assert "server" not in str(theirs)
    assert "came with this call" not in str(ours)
    assert (theirs.reason is ours.reason) is (status != 401)


@pytest.mark.parametrize(
    ("status", "body", "literal"),
    [
        (429, error(), "rate limit"),
        (400, error(code="context_length_exceeded"), "context length"),
        (401, error(), "invalid api key"),
    ],
)
def test_three_messages_hold_the_words_that_clients_look_for(status: int, body: Any, literal: str) -> None:
    assert literal in str(refuse(status, body))


@pytest.mark.parametrize(
    ("body", "limit", "requested"),
    [
        (error("n", type="exceed_context_size_error", n_ctx=2048, n_prompt_tokens=2310), "2048", "2310"),
        (
            error(
                "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
                code="context_length_exceeded",
            ),
            "8192",
            "9001",
        ),
        (
            error("This model's maximum context length is 4097 tokens, however you requested 5000 tokens (1 in …)"),
            "4097",
            "5000",
        ),
    ],
)
def test_the_numbers_of_a_context_that_is_too_long_are_told(body: Any, limit: str, requested: str) -> None:
    failure = refuse(400, body)
    assert failure.reason is Reason.CONTEXT_LENGTH_EXCEEDED
    assert (failure.metadata["limitTokens"], failure.metadata["requestedTokens"]) == (limit, requested)
    assert [violation.field for violation in failure.violations] == ["messages"]


def test_numbers_that_were_not_said_are_not_told() -> None:
    facts = refuse(400, error(code="context_length_exceeded", n_ctx=-1)).metadata
    assert not facts.keys() & {"limitTokens", "requestedTokens"}


def test_a_rate_limit_says_when_to_come_back_and_a_quota_does_not() -> None:
    assert refuse(429, error(), retry_after="7").retry_after_s == 7.0
    assert refuse(429, error()).retry_after_s is not None
    assert refuse(503, error(), retry_after="7").retry_after_s == 7.0
    quota = refuse(429, error(code="insufficient_quota"), retry_after="7")
    assert quota.retry_after_s is None
    assert quota.subject is not None
    assert quota.subject.name == "acme:gpt-x"


def test_the_refused_field_is_named() -> None:
    (violation,) = refuse(400, error(param="messages[0].content")).violations
    assert violation.field == "messages[0].content"


@pytest.mark.parametrize(
    "text",
    [
        f"Incorrect API key provided: {ASKED.key}.",
        "Incorrect API key provided: sk-proj-********************abcd.",
        "Authorization: Bearer abcdef0123456789 is wrong",
        "GET https://x.example/?key=abcdef0123456789&x=1",
        "https://user:abcdef0123456789@x.example/",
        "bad AIzaabcdef0123456789",
    ],
)
def test_what_a_provider_echoes_loses_its_keys(text: str) -> None:
    failure = refuse(400, error(text))
    told = str(failure) + repr(failure.metadata)
    assert "***" in failure.metadata["providerMessage"]
    assert "0123456789" not in told
    assert ASKED.key not in told
    assert "abcd." not in told


def test_whom_we_asked_is_printed_without_the_key() -> None:
    assert ASKED.key not in repr(ASKED)


@pytest.mark.parametrize(
    ("texts", "param", "field"),
    [
        (2, "input[1]", "texts[1]"),
        (2, "input", "texts"),
        (2, None, "texts"),
        (1, "input[0]", "texts"),  # alone: it may have been any of a larger request
        (2, "input[0][1]", "texts"),
        (0, "input[1]", "messages"),
    ],
)
def test_a_refused_text_is_named_in_our_words(texts: int, param: str | None, field: str) -> None:
    asked = Asked("acme", "e", texts=texts)
    failure = of_event(asked, {"code": "context_length_exceeded", "param": param})
    assert [violation.field for violation in failure.violations] == [field]
    assert str(failure).startswith("a text exceeds" if texts else "the messages exceed")


def test_what_hides_keys_takes_time_that_grows_no_faster_than_the_text() -> None:
    begun_s = time.monotonic()
    assert error_body._SECRETS.sub("***", "x" * 300_000) == "x" * 300_000  # ten minutes, if it grows with the square
    assert time.monotonic() - begun_s < 30
    assert "secret" not in redacted("x" * 100 + "_key=secret", "")


def test_a_key_that_would_be_cut_is_taken_out_first() -> None:
    assert "sk-live" not in redacted("x" * 295 + ASKED.key, ASKED.key)
    assert len(redacted("y" * 10_000, "")) == 300


def test_what_a_provider_says_is_one_line_and_no_part_of_the_message() -> None:
    failure = refuse(500, error("secret prompt\r\nX-Injected: 1\x00\u2028"))
    assert "secret" not in str(failure)
    assert failure.metadata["providerMessage"] == "secret prompt X-Injected: 1 "


def test_ordinary_words_are_left_alone() -> None:
    assert redacted("the task_description of risk-assessment", "") == "the task_description of risk-assessment"
    assert redacted("half a pair: \ud83d", "") == "half a pair:  "


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "code", "type", "message", "param", "n_ctx"]), inner)
    ),
)


@given(st.integers(100, 599), st.binary(max_size=50) | _json.map(lambda value: json.dumps(value).encode()))
def test_no_body_breaks_it(status: int, body: bytes) -> None:
    assert isinstance(refuse(status, body), Failure)


def test_a_body_nested_beyond_reason_is_no_body() -> None:
    assert refuse(500, b"[" * 60_000).reason is Reason.PROVIDER_ERROR
