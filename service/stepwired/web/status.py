"""The one table of HTTP statuses, and how a failure is told so that OpenAI's clients can read it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from stepwired.errors import Failure, Reason
from stepwired.web.text import quoted

#: Bytes of an answer's message: clients print it.
_MESSAGE_CHARACTERS = 1024
_MOST_RETRY_AFTER_S = 86_400

#: What the log says of what HTTP itself has a word for: whose it was, what it asked for, its status and its code.
REFUSED = "call refused request_id=%s method=%s code=%s reason=%s"

JSON = (b"content-type", b"application/json")

INVALID = "invalid_request_error"
AUTH = "authentication_error"
PERMISSION = "permission_error"
LIMITED = "rate_limit_error"
SERVER = "server_error"
PROVIDER = "provider_error"

#: The words that programs written for OpenAI look for; every other reason is its own name in lower case.
_CODES: Mapping[Reason, str] = {
    Reason.CONTEXT_LENGTH_EXCEEDED: "context_length_exceeded",
    Reason.CONCURRENCY_LIMITED: "rate_limit_exceeded",
    Reason.PROVIDER_RATE_LIMITED: "rate_limit_exceeded",
    Reason.PROVIDER_QUOTA_EXHAUSTED: "insufficient_quota",
    Reason.PROVIDER_API_KEY_INVALID: "provider_auth_error",
    Reason.PROVIDER_CALLER_KEY_INVALID: "invalid_api_key",
    Reason.CONTENT_BLOCKED: "content_filter",
    Reason.REQUEST_ID_MISMATCH: "idempotency_error",
}

#: What each reason is over HTTP, status and type; `docs/errors.md` is written from it.
TABLE: Mapping[Reason, tuple[int, str]] = {
    Reason.MALFORMED_REQUEST: (400, INVALID),
    Reason.FIELD_REQUIRED: (400, INVALID),
    Reason.FIELD_INVALID: (400, INVALID),
    Reason.INVALID_MESSAGE: (400, INVALID),
    Reason.INVALID_CONVERSATION: (400, INVALID),
    Reason.INVALID_TIME: (400, INVALID),
    Reason.INVALID_METADATA: (400, INVALID),
    Reason.INVALID_INPUT_TEXT: (400, INVALID),
    Reason.INVALID_PAGE_TOKEN: (400, INVALID),
    Reason.MODEL_CONFIG_INVALID: (400, INVALID),
    Reason.MODEL_FEATURE_UNSUPPORTED: (400, INVALID),
    Reason.CONTEXT_LENGTH_EXCEEDED: (400, INVALID),
    Reason.CONVERSATION_NOT_FOUND: (404, INVALID),
    Reason.MESSAGE_NOT_FOUND: (404, INVALID),
    Reason.MODEL_NOT_FOUND: (404, INVALID),
    Reason.CONVERSATION_EXISTS: (409, INVALID),
    Reason.MESSAGE_ID_EXISTS: (409, INVALID),
    Reason.RESPONSE_TOO_LARGE: (413, INVALID),
    Reason.CONCURRENCY_LIMITED: (429, LIMITED),
    Reason.SERVER_DRAINING: (503, SERVER),
    Reason.SLOW_CONSUMER: (408, INVALID),
    Reason.SLOW_PRODUCER: (408, INVALID),
    Reason.PROVIDER_API_KEY_INVALID: (502, PROVIDER),
    Reason.PROVIDER_NOT_CONFIGURED: (503, PROVIDER),
    Reason.PROVIDER_PERMISSION_DENIED: (403, PERMISSION),
    Reason.PROVIDER_ACCOUNT_PROBLEM: (502, PROVIDER),
    Reason.PROVIDER_RATE_LIMITED: (429, LIMITED),
    Reason.PROVIDER_QUOTA_EXHAUSTED: (429, LIMITED),
    Reason.PROVIDER_OVERLOADED: (503, PROVIDER),
    Reason.PROVIDER_ERROR: (502, PROVIDER),
    Reason.PROVIDER_REJECTED_REQUEST: (400, INVALID),
    Reason.PROVIDER_REQUEST_TOO_LARGE: (413, INVALID),
    Reason.CONTENT_BLOCKED: (400, INVALID),
    Reason.PROVIDER_UNREACHABLE: (502, PROVIDER),
    Reason.PROVIDER_TLS_INVALID: (502, PROVIDER),
    Reason.PROVIDER_TIMEOUT: (504, PROVIDER),
    Reason.PROVIDER_STREAM_STALLED: (504, PROVIDER),
    Reason.PROVIDER_STREAM_TRUNCATED: (502, PROVIDER),
    Reason.PROVIDER_PROTOCOL_ERROR: (502, PROVIDER),
    Reason.PROVIDER_RESPONSE_TOO_LARGE: (502, PROVIDER),
    Reason.PROVIDER_REDIRECT_REFUSED: (502, PROVIDER),
    Reason.MODEL_LOAD_FAILED: (503, SERVER),
    Reason.MODEL_LOADING: (503, SERVER),
    Reason.STEP_GRAPH_INVALID: (400, INVALID),
    Reason.STEP_INPUT_INVALID: (400, INVALID),
    Reason.STEP_OUTPUT_INVALID: (400, INVALID),
    Reason.STEP_EXECUTION_FAILED: (500, SERVER),
    Reason.STEP_LIMIT_EXCEEDED: (429, LIMITED),
    Reason.STORE_CONFLICT: (409, SERVER),
    Reason.STORE_UNAVAILABLE: (503, SERVER),
    Reason.STORE_FULL: (507, SERVER),
    Reason.STORE_IO_ERROR: (503, SERVER),
    Reason.STORE_CORRUPT: (500, SERVER),
    Reason.STORE_VERSION_UNSUPPORTED: (500, SERVER),
    Reason.INTERNAL_CANCELLED: (500, SERVER),
    Reason.INTERNAL: (500, SERVER),
    Reason.REVISION_MISMATCH: (409, INVALID),
    Reason.REQUEST_ID_MISMATCH: (400, INVALID),
    Reason.FEED_COMPACTED: (400, INVALID),
    Reason.INVALID_FILTER: (400, INVALID),
    Reason.UNSUPPORTED_IMAGE_FORMAT: (400, INVALID),
    Reason.IMAGE_TOO_LARGE: (400, INVALID),
    Reason.IMAGE_DECODE_FAILED: (400, INVALID),
    Reason.IMAGE_URL_UNAVAILABLE: (400, INVALID),
    Reason.FILE_ACCESS_DENIED: (403, PERMISSION),
    Reason.FILE_NOT_FOUND: (404, INVALID),
    Reason.BLOB_NOT_FOUND: (404, INVALID),
    Reason.STEP_EXISTS: (409, INVALID),
    Reason.STEP_TIMEOUT: (504, SERVER),
    Reason.WORKER_LOST: (503, SERVER),
    Reason.NO_WORKER: (503, SERVER),
    Reason.PIPELINE_NOT_FOUND: (404, INVALID),
    Reason.PIPELINE_EXISTS: (409, INVALID),
    Reason.TOOL_NOT_ALLOWED: (400, INVALID),
    Reason.STRUCTURED_OUTPUT_INVALID: (502, PROVIDER),
    Reason.MAX_TOKENS_TOO_LARGE: (400, INVALID),
    Reason.REQUEST_IN_PROGRESS: (409, INVALID),
    Reason.PROVIDER_CALLER_KEY_INVALID: (401, AUTH),
}


class Refused(Exception):
    """A request that HTTP itself has a word for: no such path, method, host or type. `str()` of it is for people."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s
        self.headers = headers


class Told(msgspec.Struct, frozen=True):
    """What a caller is told about the end of a request that failed."""

    status: int
    type: str
    code: str
    message: str
    param: str | None = None
    retry_after_s: int | None = None
    """Whole and at least 1: simple clients read nothing else."""

    headers: tuple[tuple[bytes, bytes], ...] = ()

    def all_headers(self) -> list[tuple[bytes, bytes]]:
        """The answer's headers, but for its size and whose it is."""
        headers = [JSON, *self.headers]
        if self.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % self.retry_after_s))
        # OpenAI's own clients try again by the status alone, unless they are told better.
        headers.append((b"x-should-retry", b"true" if self.retry_after_s is not None else b"false"))
        return headers

    def body(self, request_id: str) -> bytes:
        """The answer's JSON, ASCII."""
        # Five fields, always: programs look for each.
        text = ",".join(
            f'"{name}":{"null" if value is None else quoted(value)}'
            for name, value in (
                ("message", self.message),
                ("type", self.type),
                ("code", self.code),
                ("param", self.param),
                ("request_id", request_id),
            )
        )
        return f'{{"error":{{{text}}}}}'.encode("ascii")


def code_of(reason: Reason) -> str:
    """The word for a reason in `error.code`."""
    return _CODES.get(reason) or reason.value.lower()


def told(failure: Failure | Refused) -> Told:
    """Describe a failure."""
    message = str(failure)
    if len(message) > _MESSAGE_CHARACTERS:
        message = message[: _MESSAGE_CHARACTERS - 1] + "…"
    if isinstance(failure, Refused):
        kind = SERVER if failure.status >= 500 else INVALID
        return Told(failure.status, kind, failure.code, message, None, failure.retry_after_s, failure.headers)
    status, kind = TABLE[failure.reason]
    after_s = failure.retry_after_s
    return Told(
        status,
        kind,
        code_of(failure.reason),
        message,
        failure.violations[0].field if failure.violations else None,
        None if after_s is None else min(max(1, math.ceil(after_s)), _MOST_RETRY_AFTER_S),
    )
