"""Makes an endpoint of each method of our services: the handler behind it is the one that gRPC gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import grpc
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import Endpoint
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor

from stepwired.errors import Failure, InvalidRequest, Reason
from stepwired.rpc.connect.body import Format
from stepwired.rpc.connect.context import ConnectContext
from stepwired.rpc.connect.errors import Aborted
from stepwired.rpc.connect.reading import Ahead, Decoded, Held

Context = RequestContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Admission:
    """How the gate answers one request."""

    handler: Any
    """As gRPC has handlers."""

    is_refused: bool
    """Whether the handler fails without looking at the request."""

    format: Format
    held: Held
    """Of the request that is being read."""


#: Of the request that is being served, which the library knows nothing of.
ADMISSION: ContextVar[Admission] = ContextVar("ADMISSION")


class Method:
    """One method of a service.

    Args:
        method: As its file describes it.
    """

    def __init__(self, method: MethodDescriptor) -> None:
        self._method = method
        self._kind = message_factory.GetMessageClass(method.input_type)
        self.path = f"/{method.containing_service.full_name}/{method.name}"

    @property
    def takes_stream(self) -> bool:
        return self._method.client_streaming

    @property
    def is_unary(self) -> bool:
        return not self._method.client_streaming and not self._method.server_streaming

    def endpoint(self) -> Any:
        """Make what the library serves the method with."""
        match self._method.client_streaming, self._method.server_streaming:
            case False, False:
                return Endpoint.unary(self._info(StreamType.UNARY), self._unary)
            case False, True:
                return Endpoint.server_stream(self._info(StreamType.SERVER_STREAM), self._server_stream)
            case True, False:
                return Endpoint.client_stream(self._info(StreamType.CLIENT_STREAM), self._client_stream)
            case _:
                return Endpoint.bidi_stream(self._info(StreamType.BIDI_STREAM), self._bidi_stream)

    def _info(self, kind: StreamType) -> MethodInfo[bytes, bytes]:
        return MethodInfo(
            name=self._method.name,
            service_name=self._method.containing_service.full_name,
            input=bytes,
            output=bytes,
            idempotency_level=IdempotencyLevel.UNKNOWN,  # so that nothing is served to a GET, which needs no preflight
            stream_type=kind,
        )

    async def _unary(self, raw: bytes, request: Context) -> bytes:
        call = _Incoming(request, self._kind)
        return await call.context.encoded(await call.run("unary_unary", await call.read(raw)))

    def _server_stream(self, raw: bytes, request: Context) -> AsyncGenerator[bytes, None]:
        call = _Incoming(request, self._kind)

        async def handle() -> None:
            await call.run("unary_stream", await call.read(raw))

        return call.context.replies(handle())

    async def _client_stream(self, raw: AsyncIterator[bytes], request: Context) -> bytes:
        call = _Incoming(request, self._kind)
        return await call.context.encoded(await call.run("stream_unary", call.messages(raw)))

    def _bidi_stream(self, raw: AsyncIterator[bytes], request: Context) -> AsyncGenerator[bytes, None]:
        call = _Incoming(request, self._kind)

        async def handle() -> None:
            ahead = Ahead(call.messages(raw))
            reading = asyncio.create_task(ahead.read())
            try:
                await call.run("stream_stream", ahead)
            finally:
                ahead.leave()
                reading.cancel()
                await asyncio.wait((reading,))

        return call.context.replies(handle())


class _Incoming:
    """One request, and the handler it goes to."""

    def __init__(self, request: Context, kind: Any) -> None:
        self._admission = ADMISSION.get()
        self._kind = kind
        self.context = ConnectContext(request, self._admission.handler, self._admission.format)

    async def run(self, what: str, request: Any) -> Any:
        """Call the handler, or the one that refuses."""
        handler = self._admission.handler
        return await getattr(handler, "stream_stream" if self._admission.is_refused else what)(request, self.context)

    async def read(self, raw: bytes) -> Any:
        """Decode a message, or return what the handler's wrapper knows as none."""
        admission = self._admission
        if admission.is_refused:
            return None
        try:
            return await admission.format.read(raw, self._kind, admission.handler.request_deserializer)
        finally:
            admission.held.drop()

    def messages(self, raw: AsyncIterator[bytes]) -> Decoded:
        return Decoded(raw, self._read_next, self._failed)

    async def _read_next(self, raw: bytes) -> Any:
        message = await self.read(raw)
        if isinstance(message, Failure):
            raise message
        return message

    def _failed(self, error: ConnectError) -> Exception:
        return failure_of(error) or self.context.refused(Aborted(grpc.StatusCode[_name(error.code)], error.message))


def failure_of(error: ConnectError) -> Failure | None:
    """Say in our words what the library finds wrong with a request; None for what is wrong with none."""
    if error.code is Code.INVALID_ARGUMENT:
        return InvalidRequest(Reason.MALFORMED_REQUEST, error.message)
    return None


def _name(code: Code) -> str:
    return "CANCELLED" if code is Code.CANCELED else code.name
