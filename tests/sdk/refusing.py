"""Failing as a Stepwire server does, or as a proxy or the library would."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf import duration_pb2
from google.protobuf.any_pb2 import Any as AnyProto
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

Context = grpc.aio.ServicerContext[Any, Any]


async def refuse(
    context: Context,
    code: grpc.StatusCode,
    message: str = "no",
    *,
    reason: str = "",
    retry_after_s: float | None = None,
    request_id: str = "",
    metadata: dict[str, str] | None = None,
    violations: tuple[tuple[str, str, str], ...] = (),
    pushback_ms: int | None = None,
) -> NoReturn:
    """Fail a call as the real server does; without `reason`, as a proxy or the library would."""
    details: list[Message] = []
    if reason:
        details.append(error_details_pb2.ErrorInfo(reason=reason, domain="stepwire.dev", metadata=metadata or {}))
    if retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(round(retry_after_s * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if request_id:
        details.append(error_details_pb2.RequestInfo(request_id=request_id))
    if violations:
        fields = [
            error_details_pb2.BadRequest.FieldViolation(field=field, description=description, reason=why)
            for field, description, why in violations
        ]
        details.append(error_details_pb2.BadRequest(field_violations=fields))
    trailers: list[tuple[str, str | bytes]] = []
    if details:
        status = status_pb2.Status(code=code.value[0], message=message)
        for detail in details:
            packed = AnyProto()
            packed.Pack(detail)
            status.details.append(packed)
        trailers.append(("grpc-status-details-bin", status.SerializeToString()))
    if pushback_ms is not None:
        trailers.append(("grpc-retry-pushback-ms", str(pushback_ms)))
    await context.abort(code, message, tuple(trailers))
    raise AssertionError("abort returns never")
