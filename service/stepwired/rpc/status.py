"""The one table of status codes, and how a failure is told so that every client can read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2

from stepwired.errors import Failure, Reason, Violation

if TYPE_CHECKING:
    from google.protobuf.message import Message

DOMAIN = "stepwire.dev"

#: Clients drop errors whose metadata passes 8 KiB. The message travels twice, once percent-encoded; details as base64.
MAX_MESSAGE_BYTES = 1024
MAX_STATUS_BYTES = 4096
_MAX_ENCODED_MESSAGE_BYTES = 1536
_MAX_FACTS_BYTES = 1200
_MAX_FACT_BYTES = 300
_MAX_KEY_BYTES = 64
_MAX_FIELD_BYTES = 200


class Detail(Enum):
    """The message of `google/rpc/error_details.proto` that tells more about a reason."""

    NONE = auto()
    FIELDS = auto()
    SUBJECT = auto()
    QUOTA = auto()
    PRECONDITION = auto()


_C = grpc.StatusCode

#: What each reason is on the wire; `docs/errors.md` is written from it.
TABLE: Mapping[Reason, tuple[grpc.StatusCode, Detail]] = {
    Reason.MALFORMED_REQUEST: (_C.INVALID_ARGUMENT, Detail.NONE),
    Reason.FIELD_REQUIRED: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.FIELD_INVALID: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.INVALID_MESSAGE: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.INVALID_CONVERSATION: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.INVALID_TIME: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.INVALID_METADATA: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.INVALID_INPUT_TEXT: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.INVALID_PAGE_TOKEN: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.MODEL_CONFIG_INVALID: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.MODEL_FEATURE_UNSUPPORTED: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.CONTEXT_LENGTH_EXCEEDED: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.CONVERSATION_NOT_FOUND: (_C.NOT_FOUND, Detail.SUBJECT),
    Reason.MESSAGE_NOT_FOUND: (_C.NOT_FOUND, Detail.SUBJECT),
    Reason.MODEL_NOT_FOUND: (_C.NOT_FOUND, Detail.SUBJECT),
    Reason.CONVERSATION_EXISTS: (_C.ALREADY_EXISTS, Detail.SUBJECT),
    Reason.MESSAGE_ID_EXISTS: (_C.ALREADY_EXISTS, Detail.SUBJECT),
    Reason.RESPONSE_TOO_LARGE: (_C.RESOURCE_EXHAUSTED, Detail.NONE),
    Reason.CONCURRENCY_LIMITED: (_C.RESOURCE_EXHAUSTED, Detail.QUOTA),
    Reason.SERVER_DRAINING: (_C.UNAVAILABLE, Detail.NONE),
    Reason.SLOW_CONSUMER: (_C.RESOURCE_EXHAUSTED, Detail.NONE),
    Reason.SLOW_PRODUCER: (_C.RESOURCE_EXHAUSTED, Detail.NONE),
    Reason.PROVIDER_API_KEY_INVALID: (_C.FAILED_PRECONDITION, Detail.PRECONDITION),
    Reason.PROVIDER_NOT_CONFIGURED: (_C.FAILED_PRECONDITION, Detail.PRECONDITION),
    Reason.PROVIDER_PERMISSION_DENIED: (_C.PERMISSION_DENIED, Detail.NONE),
    Reason.PROVIDER_ACCOUNT_PROBLEM: (_C.FAILED_PRECONDITION, Detail.PRECONDITION),
    Reason.PROVIDER_RATE_LIMITED: (_C.RESOURCE_EXHAUSTED, Detail.QUOTA),
    Reason.PROVIDER_QUOTA_EXHAUSTED: (_C.RESOURCE_EXHAUSTED, Detail.QUOTA),
    Reason.PROVIDER_OVERLOADED: (_C.UNAVAILABLE, Detail.NONE),
    Reason.PROVIDER_ERROR: (_C.UNAVAILABLE, Detail.NONE),
    Reason.PROVIDER_REJECTED_REQUEST: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.PROVIDER_REQUEST_TOO_LARGE: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.CONTENT_BLOCKED: (_C.FAILED_PRECONDITION, Detail.PRECONDITION),
    Reason.PROVIDER_UNREACHABLE: (_C.UNAVAILABLE, Detail.NONE),
    Reason.PROVIDER_TLS_INVALID: (_C.FAILED_PRECONDITION, Detail.PRECONDITION),
    Reason.PROVIDER_TIMEOUT: (_C.UNAVAILABLE, Detail.NONE),
    Reason.PROVIDER_STREAM_STALLED: (_C.UNAVAILABLE, Detail.NONE),
    Reason.PROVIDER_STREAM_TRUNCATED: (_C.UNAVAILABLE, Detail.NONE),
    Reason.PROVIDER_PROTOCOL_ERROR: (_C.UNAVAILABLE, Detail.NONE),
    Reason.PROVIDER_RESPONSE_TOO_LARGE: (_C.RESOURCE_EXHAUSTED, Detail.NONE),
    Reason.PROVIDER_REDIRECT_REFUSED: (_C.FAILED_PRECONDITION, Detail.PRECONDITION),
    Reason.MODEL_LOAD_FAILED: (_C.FAILED_PRECONDITION, Detail.PRECONDITION),
    Reason.MODEL_LOADING: (_C.UNAVAILABLE, Detail.NONE),
    Reason.STEP_GRAPH_INVALID: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.STEP_INPUT_INVALID: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.STEP_OUTPUT_INVALID: (_C.INVALID_ARGUMENT, Detail.NONE),
    Reason.STEP_EXECUTION_FAILED: (_C.UNKNOWN, Detail.NONE),
    Reason.STEP_LIMIT_EXCEEDED: (_C.RESOURCE_EXHAUSTED, Detail.QUOTA),
    Reason.STORE_CONFLICT: (_C.ABORTED, Detail.NONE),
    Reason.STORE_UNAVAILABLE: (_C.UNAVAILABLE, Detail.NONE),
    Reason.STORE_FULL: (_C.RESOURCE_EXHAUSTED, Detail.QUOTA),
    Reason.STORE_IO_ERROR: (_C.UNAVAILABLE, Detail.NONE),
    Reason.STORE_CORRUPT: (_C.DATA_LOSS, Detail.NONE),
    Reason.STORE_VERSION_UNSUPPORTED: (_C.FAILED_PRECONDITION, Detail.PRECONDITION),
    Reason.INTERNAL_CANCELLED: (_C.ABORTED, Detail.NONE),
    Reason.INTERNAL: (_C.INTERNAL, Detail.NONE),
    Reason.REVISION_MISMATCH: (_C.ABORTED, Detail.SUBJECT),
    Reason.REQUEST_ID_MISMATCH: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.FEED_COMPACTED: (_C.OUT_OF_RANGE, Detail.NONE),
    Reason.INVALID_FILTER: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.UNSUPPORTED_IMAGE_FORMAT: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.IMAGE_TOO_LARGE: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.IMAGE_DECODE_FAILED: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.IMAGE_URL_UNAVAILABLE: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.FILE_ACCESS_DENIED: (_C.PERMISSION_DENIED, Detail.NONE),
    Reason.FILE_NOT_FOUND: (_C.NOT_FOUND, Detail.SUBJECT),
    Reason.BLOB_NOT_FOUND: (_C.NOT_FOUND, Detail.SUBJECT),
    Reason.STEP_EXISTS: (_C.ALREADY_EXISTS, Detail.SUBJECT),
    Reason.STEP_TIMEOUT: (_C.DEADLINE_EXCEEDED, Detail.NONE),
    Reason.WORKER_LOST: (_C.UNAVAILABLE, Detail.NONE),
    Reason.NO_WORKER: (_C.UNAVAILABLE, Detail.NONE),
    Reason.PIPELINE_NOT_FOUND: (_C.NOT_FOUND, Detail.SUBJECT),
    Reason.PIPELINE_EXISTS: (_C.ALREADY_EXISTS, Detail.SUBJECT),
    Reason.TOOL_NOT_ALLOWED: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.STRUCTURED_OUTPUT_INVALID: (_C.FAILED_PRECONDITION, Detail.PRECONDITION),
    Reason.MAX_TOKENS_TOO_LARGE: (_C.INVALID_ARGUMENT, Detail.FIELDS),
    Reason.REQUEST_IN_PROGRESS: (_C.ABORTED, Detail.NONE),
    Reason.PROVIDER_CALLER_KEY_INVALID: (_C.UNAUTHENTICATED, Detail.NONE),
}

#: Where clients with a retry policy look for what the server thinks of trying again.
_PUSHED_BACK = frozenset({_C.UNAVAILABLE, _C.RESOURCE_EXHAUSTED})


@dataclass(frozen=True, slots=True)
class Status:
    """How a call ends."""

    code: grpc.StatusCode
    message: str
    """For people, at most 1 KiB."""

    details: bytes
    """A serialized `google.rpc.Status`, at most 4 KiB."""

    pushback_ms: int | None
    """How long a client with a retry policy should wait; -1: not retry; None: the code is none that it retries."""

    def trailers(self, request_id: str) -> tuple[tuple[str, str | bytes], ...]:
        """Say it in the keys that generic tooling reads."""
        always = (("x-request-id", request_id), ("grpc-status-details-bin", self.details))
        if self.pushback_ms is None:
            return always
        return (*always, ("grpc-retry-pushback-ms", str(self.pushback_ms)))


def code_of(reason: Reason) -> grpc.StatusCode:
    """Look up the status code of a reason."""
    return TABLE[reason][0]


def code_number(reason: Reason) -> int:
    """Look up the `google.rpc.Code` of a reason."""
    number: int = TABLE[reason][0].value[0]
    return number


def of(failure: Failure, request_id: str, *, partial: bool = False) -> Status:
    """Describe `failure`: code, message, `ErrorInfo`, `RetryInfo` where a retry helps, and what else its row names.

    Never fails: what is too long is cut, what does not fit is counted.

    Args:
        failure: What went wrong.
        request_id: Under which the log has more.
        partial: Whether the caller has part of the answer already.
    """
    code, kind = TABLE[failure.reason]
    message = cut_message(str(failure))
    facts = dict(failure.metadata) | ({"partial": "true"} if partial else {})
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=failure.reason, domain=DOMAIN, metadata=_fitting(facts)),
        error_details_pb2.RequestInfo(request_id=request_id),
    ]
    if failure.retry_after_s is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=duration(failure.retry_after_s)))
    if (more := _detail(kind, failure, message)) is not None:
        details.append(more)
    status = _pack(code, message, details)
    if failure.violations and kind is Detail.FIELDS:
        room = MAX_STATUS_BYTES - status.ByteSize() - 64  # tags, lengths and the type's name
        status.details.add().Pack(_bad_request(failure.violations, room))
    pushback_ms = None
    if code in _PUSHED_BACK:
        pushback_ms = -1 if failure.retry_after_s is None else _milliseconds(failure.retry_after_s)
    return Status(code, message, status.SerializeToString(), pushback_ms)


def duration(seconds: float) -> duration_pb2.Duration:
    """Write seconds as protobuf does; what is negative or beyond its range is brought to the nearest end of it."""
    nanos = round(min(max(seconds, 0.0), 315_576_000_000.0) * 1e9)
    return duration_pb2.Duration(seconds=nanos // 10**9, nanos=nanos % 10**9)


def _milliseconds(seconds: float) -> int:
    """Round up, so that nobody comes too early; a client reads at most 32 bits."""
    return min(-(-duration(seconds).ToNanoseconds() // 1_000_000), 2**31 - 1)


def cut(text: str, limit_bytes: int) -> str:
    """Cut `text` to at most so many bytes of UTF-8, at a character; what UTF-8 cannot say becomes `?`."""
    raw = text.encode(errors="replace")
    return raw.decode() if len(raw) <= limit_bytes else raw[: limit_bytes - 3].decode(errors="ignore") + "…"


def cut_message(text: str) -> str:
    """Cut a message for people to what a status can carry."""
    message = cut(text, MAX_MESSAGE_BYTES)
    while (size := _encoded_bytes(message)) > _MAX_ENCODED_MESSAGE_BYTES:
        message = cut(message, len(message.encode()) * _MAX_ENCODED_MESSAGE_BYTES // size)
    return message


def _encoded_bytes(message: str) -> int:
    """Size on the wire, where what is not printable ASCII takes three bytes for one."""
    return sum(1 if 0x20 <= byte <= 0x7E and byte != 0x25 else 3 for byte in message.encode())


def _fitting(facts: Mapping[str, str]) -> dict[str, str]:
    kept: dict[str, str] = {}
    room = _MAX_FACTS_BYTES
    for given, value in facts.items():
        key, short = cut(given, _MAX_KEY_BYTES), cut(value, _MAX_FACT_BYTES)
        room -= len(key.encode()) + len(short.encode()) + 8
        if room < 0:
            break
        kept[key] = short
    return kept


def _detail(kind: Detail, failure: Failure, message: str) -> Message | None:
    subject = failure.subject
    kind_of_it, name = (subject.kind, cut(subject.name, _MAX_FACT_BYTES)) if subject else ("", "")
    short = cut(message, _MAX_FACT_BYTES)
    match kind:
        case Detail.SUBJECT:
            return error_details_pb2.ResourceInfo(resource_type=kind_of_it, resource_name=name, description=short)
        case Detail.QUOTA:
            about = f"{kind_of_it}:{name}" if subject else "server"
            violation = error_details_pb2.QuotaFailure.Violation(subject=about, description=short)
            return error_details_pb2.QuotaFailure(violations=[violation])
        case Detail.PRECONDITION:
            unmet = error_details_pb2.PreconditionFailure.Violation(
                type=failure.reason, subject=f"{kind_of_it}:{name}" if subject else "server", description=short
            )
            return error_details_pb2.PreconditionFailure(violations=[unmet])
        case Detail.FIELDS | Detail.NONE:
            return None


def _bad_request(violations: tuple[Violation, ...], room_bytes: int) -> error_details_pb2.BadRequest:
    """Name as many fields as fit; the last entry counts the others."""
    told = error_details_pb2.BadRequest()
    for index, violation in enumerate(violations):
        entry = error_details_pb2.BadRequest.FieldViolation(
            field=cut(violation.field, _MAX_FIELD_BYTES),
            description=cut(violation.description, _MAX_FACT_BYTES),
            reason=violation.reason,
        )
        left = len(violations) - index - 1
        if told.ByteSize() + entry.ByteSize() + (64 if left else 4) > room_bytes:
            told.field_violations.add(description=f"and {left + 1} more")
            break
        told.field_violations.append(entry)
    return told


def _pack(code: grpc.StatusCode, message: str, details: list[Message]) -> status_pb2.Status:
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return status
