"""Tells failures over Connect and gRPC-Web: the same code, message, details and trailers as over gRPC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import grpc
import grpc.aio
from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from google.protobuf import any_pb2, descriptor_pool, json_format, message_factory
from google.rpc import status_pb2
from protobuf import message_from_json_value
from protobuf.wkt import Any as PackedAny
from protobuf.wkt import Struct

_CODES: Final[Mapping[grpc.StatusCode, Code]] = {
    code: Code.CANCELED if code is grpc.StatusCode.CANCELLED else Code[code.name]
    for code in grpc.StatusCode
    if code is not grpc.StatusCode.OK
}
DETAILS: Final = "grpc-status-details-bin"


class Aborted(ConnectError, grpc.aio.AbortError):
    """Ends a call as said. What wraps the handlers lets it pass, as it does what gRPC raises for the same purpose."""

    def __init__(self, code: grpc.StatusCode, message: str, details: Iterable[any_pb2.Any] = ()) -> None:
        super().__init__(_CODES[code], message, [_Detail(detail) for detail in details])
        self.status = code


def aborted(code: grpc.StatusCode, message: str, details: bytes) -> Aborted:
    """Make an exception of a status.

    Args:
        code: Of the status.
        message: For people.
        details: A serialized `google.rpc.Status`, or nothing.
    """
    return Aborted(code, message, status_pb2.Status.FromString(details).details)


class _Detail(ErrorDetail):
    """A detail that can also be read without knowing its type: Connect sends its JSON beside the bytes."""

    def __init__(self, packed: any_pb2.Any) -> None:
        super().__init__(PackedAny(type_url=packed.type_url, value=packed.value))
        self._packed = packed

    def value(self, *_: Any) -> Any:
        kind = descriptor_pool.Default().FindMessageTypeByName(self._packed.TypeName())
        message = message_factory.GetMessageClass(kind).FromString(self._packed.value)
        return message_from_json_value(Struct, json_format.MessageToDict(message))
