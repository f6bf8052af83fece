"""The table of HTTP statuses is whole, and says what it is meant to."""

from __future__ import annotations

import json

import pytest

from stepwired.errors import Failure, InvalidRequest, Reason, Violation
from stepwired.web import status

#: The table once more: a change of a status has to be made on purpose. Everything else that a caller can mend is 400.
STATUSES = {
    401: "PROVIDER_CALLER_KEY_INVALID",
    403: "PROVIDER_PERMISSION_DENIED FILE_ACCESS_DENIED",
    404: """
        CONVERSATION_NOT_FOUND MESSAGE_NOT_FOUND MODEL_NOT_FOUND FILE_NOT_FOUND BLOB_NOT_FOUND PIPELINE_NOT_FOUND
    """,
    408: "SLOW_CONSUMER SLOW_PRODUCER",
    409: """
        CONVERSATION_EXISTS MESSAGE_ID_EXISTS STEP_EXISTS PIPELINE_EXISTS REVISION_MISMATCH REQUEST_IN_PROGRESS
        STORE_CONFLICT
    """,
    413: "RESPONSE_TOO_LARGE PROVIDER_REQUEST_TOO_LARGE",
    429: "CONCURRENCY_LIMITED PROVIDER_RATE_LIMITED PROVIDER_QUOTA_EXHAUSTED STEP_LIMIT_EXCEEDED",
    500: "STEP_EXECUTION_FAILED STORE_CORRUPT STORE_VERSION_UNSUPPORTED INTERNAL_CANCELLED INTERNAL",
    502: """
        PROVIDER_API_KEY_INVALID PROVIDER_ACCOUNT_PROBLEM PROVIDER_ERROR PROVIDER_UNREACHABLE PROVIDER_TLS_INVALID
        PROVIDER_STREAM_TRUNCATED PROVIDER_PROTOCOL_ERROR PROVIDER_RESPONSE_TOO_LARGE PROVIDER_REDIRECT_REFUSED
        STRUCTURED_OUTPUT_INVALID
    """,
    503: """
        SERVER_DRAINING PROVIDER_NOT_CONFIGURED PROVIDER_OVERLOADED MODEL_LOAD_FAILED MODEL_LOADING STORE_UNAVAILABLE
        STORE_IO_ERROR WORKER_LOST NO_WORKER
    """,
    504: "PROVIDER_TIMEOUT PROVIDER_STREAM_STALLED STEP_TIMEOUT",
    507: "STORE_FULL",
}


def test_each_reason_has_its_status() -> None:
    wanted = {name: code for code, names in STATUSES.items() for name in names.split()}
    assert {reason.value: code for reason, (code, _) in status.TABLE.items()} == {
        reason.value: wanted.get(reason.value, 400) for reason in Reason
    }


@pytest.mark.parametrize("reason", Reason)
def test_each_failure_is_told_in_full_and_in_ascii(reason: Reason) -> None:
    failure = Failure(reason, "what “happened”", violations=[Violation("messages[0]", "is wrong")])
    said = status.told(failure)
    error = json.loads(said.body("id-1").decode("ascii"))["error"]
    assert error == {
        "message": "what “happened”",
        "type": status.TABLE[reason][1],
        "code": status.code_of(reason),
        "param": "messages[0]",
        "request_id": "id-1",
    }
    assert (said.retry_after_s is not None) == failure.is_transient


@pytest.mark.parametrize(("seconds", "said"), [(0.0, 1), (0.1, 1), (1.0, 1), (1.1, 2), (60, 60), (1e20, 86_400)])
def test_simple_clients_read_whole_seconds(seconds: float, said: int) -> None:
    assert status.told(Failure(Reason.PROVIDER_RATE_LIMITED, "", retry_after_s=seconds)).retry_after_s == said


def test_a_long_message_is_cut() -> None:
    said = status.told(InvalidRequest(Reason.FIELD_INVALID, "x" * 100_000))
    assert len(said.message) == 1024
