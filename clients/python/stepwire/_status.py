"""Reads what a failed call, or a failed item of a stream, says about its cause."""

from __future__ import annotations

from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from stepwire import errors
from stepwire.v1 import message_pb2

D = TypeVar("D", bound=Message)

_CODE_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


def of_call(failed: grpc.aio.AioRpcError, target: str) -> errors.Error:
    """Describe a failed call. Works with as little as a bare status, which is all that proxies send."""
    trailers = dict(failed.trailing_metadata() or ())
    status = _status(trailers.get("grpc-status-details-bin", b""))
    info = _detail(status, error_details_pb2.ErrorInfo) or error_details_pb2.ErrorInfo()
    retry = _detail(status, error_details_pb2.RetryInfo)
    request = _detail(status, error_details_pb2.RequestInfo)
    bad = _detail(status, error_details_pb2.BadRequest)
    code = failed.code().name
    return errors.family(code, info.reason)(
        _message(code, failed.details() or "", target, is_ours=bool(info.reason)),
        code=code,
        reason=info.reason,
        retry_after_s=seconds(retry.retry_delay) if retry else None,
        request_id=(request.request_id if request else "") or _text(trailers.get("x-request-id", "")),
        metadata=dict(info.metadata),
        violations=[
            errors.Violation(violation.field, violation.description, violation.reason)
            for violation in (bad.field_violations if bad else ())
        ],
    )


def of_item(failure: message_pb2.Failure) -> errors.Error:
    """Describe a failed item of a stream that goes on."""
    code = _CODE_NAMES.get(failure.code, "UNKNOWN")
    return errors.family(code, failure.reason)(
        failure.message,
        code=code,
        reason=failure.reason,
        retry_after_s=seconds(failure.retry_delay) if failure.HasField("retry_delay") else None,
        metadata=dict(failure.metadata),
    )


def seconds(duration: Duration) -> float:
    """Turn a duration of the wire into seconds."""
    return duration.seconds + duration.nanos / 1e9


def _status(data: str | bytes) -> status_pb2.Status:
    status = status_pb2.Status()
    try:
        status.ParseFromString(data if isinstance(data, bytes) else data.encode())
    except DecodeError:  # the code and the message still say something
        status.Clear()
    return status


def _detail(status: status_pb2.Status, kind: type[D]) -> D | None:
    for packed in status.details:
        if packed.type_url.endswith(f"/{kind.DESCRIPTOR.full_name}"):
            detail = kind()
            try:
                detail.ParseFromString(packed.value)
            except DecodeError:
                return None
            return detail
    return None


def _message(code: str, details: str, target: str, *, is_ours: bool) -> str:
    if is_ours:
        return details
    match code:  # the library's own words name its internals
        case "UNAVAILABLE":
            # gRPC lists each address it tried, and the cause at the end.
            why = details.rpartition(": ")[2] if details.startswith("failed to connect") else details
            return f"no answer from {target}: {why or 'the connection was lost'}"
        case "DEADLINE_EXCEEDED":
            return f"{target} did not answer in time"
        case "UNIMPLEMENTED":
            return f"{target} does not know this call: it is no Stepwire server, or an older one"
        case _:
            return details or f"{target} answered {code}"


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode(errors="replace")
