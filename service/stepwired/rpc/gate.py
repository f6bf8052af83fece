"""Decides on a call before a byte of its request is read: who may call, what exists, and whether there is room."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import grpc
from google.protobuf.message import DecodeError

from stepwired.errors import Failure, InvalidRequest, Reason
from stepwired.rpc.calls import MALFORMED, MAX_MESSAGE_BYTES, Calls, too_large
from stepwired.rpc.scan import has_too_many_fields

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]  # a plain class when it runs


class Authorize(Protocol):
    """Who may call what. Called once a call, before its request is read."""

    def __call__(self, method: str, metadata: Sequence[tuple[str, str | bytes]], /) -> Failure | None:
        """Return why the call is refused, or None. `method` is the full name, as in `/package.Service/Method`."""


def anybody(_method: str, _metadata: Sequence[tuple[str, str | bytes]], /) -> None:
    """Let everybody in: what a server that listens on loopback only does."""


class Gate(grpc.GenericRpcHandler):
    """The one place where gRPC asks for a handler.

    It is a generic handler and not an interceptor: an interceptor costs a coroutine for each call and has to make
    up handlers of its own anyway. Refusals are `stream_stream` handlers whatever the method is, because only for
    those gRPC does not read the request first: a caller without rights cannot make us buffer anything.
    """

    def __init__(self, calls: Calls, authorize: Authorize = anybody) -> None:
        self._calls = calls
        self._authorize = authorize
        self._handlers: dict[str, Handler] = {}
        self._open: set[str] = set()
        self._counted: set[str] = set()

    def serve(
        self,
        service: str,
        handlers: Mapping[str, Handler],
        *,
        counted: bool = True,
        is_open: bool = False,
        endless: Collection[str] = (),
        serving: Collection[str] = (),
    ) -> None:
        """Serve the methods of `service`.

        Args:
            service: Full name, as in `stepwire.v1.ChatService`.
            handlers: By method name, as generated code makes them.
            counted: Whether its calls take places of `max_calls` and are refused while the server drains.
            is_open: Whether everybody may call it.
            endless: The methods whose calls are ended as soon as the server drains.
            serving: The methods whose callers serve the calls of others; they are ended after those.
        """
        for name, handler in handlers.items():
            method = f"/{service}/{name}"
            wrapped = self._wrapped(method, handler, counted, endless=name in endless, serving=name in serving)
            self._handlers[method] = wrapped
            if counted:
                self._counted.add(method)
            if is_open:
                self._open.add(method)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Choose the handler of one call; None for a method that does not exist."""
        method = handler_call_details.method
        refusal = None
        if method not in self._open:
            refusal = self._authorize(method, handler_call_details.invocation_metadata)
        if refusal is None and method in self._counted:
            refusal = self._calls.refusal()
        if refusal is not None:
            return _stream_stream(self._calls.rejecting(method, refusal), None, None)
        return self._handlers.get(method)

    def _wrapped(self, method: str, handler: Handler, counted: bool, *, endless: bool, serving: bool) -> Handler:
        behavior: Any = handler.stream_stream or handler.stream_unary or handler.unary_stream or handler.unary_unary
        decode = handler.request_deserializer
        assert decode is not None
        encode = handler.response_serializer
        assert encode is not None
        if handler.request_streaming and not handler.response_streaming:
            collecting = self._calls.collecting(method, behavior, counted=counted)
            return grpc.stream_unary_rpc_method_handler(collecting, _refusing(decode), encode)
        if handler.request_streaming:
            conversing = self._calls.conversing(method, behavior, counted=counted, serving=serving)
            return _stream_stream(conversing, _refusing(decode), bounded(encode))
        if handler.response_streaming:
            wrapped = self._calls.streaming(method, behavior, counted=counted, endless=endless)
            return grpc.unary_stream_rpc_method_handler(wrapped, _marking(decode), bounded(encode))
        single = self._calls.unary(method, behavior, counted=counted)
        return grpc.unary_unary_rpc_method_handler(single, _marking(decode), encode)


def bounded(encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Encode, or fail where the handler writes. The bytes are made anyway, so that looking at their size is free.

    For streams only: what answers once is encoded when its handler has returned and nobody listens to exceptions.
    """

    def write(message: Any) -> bytes:
        raw = encode(message)
        if len(raw) > MAX_MESSAGE_BYTES:
            raise too_large(len(raw))
        return raw

    return write


class Collector:
    """Stands in for a server where generated code registers a service, to get at its handlers."""

    def __init__(self) -> None:
        self.services: dict[str, Mapping[str, Handler]] = {}

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Handler]) -> None:
        self.services[service_name] = method_handlers

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Nothing more: it is the same handlers again."""


def _stream_stream(behavior: Any, decode: Any, encode: Any) -> Handler:
    return grpc.stream_stream_rpc_method_handler(behavior, decode, encode)


def _marking(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Decode, or return MALFORMED: an exception here would be answered by gRPC, with the library's own words."""

    def read(raw: bytes) -> Any:
        if has_too_many_fields(raw):
            return MALFORMED
        try:
            return decode(raw)
        except DecodeError:
            return MALFORMED

    return read


def _refusing(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Decode, or fail where the handler reads."""
    mark = _marking(decode)

    def read(raw: bytes) -> Any:
        if (message := mark(raw)) is MALFORMED:
            what = "a message of the request stream is no valid message of its type"
            raise InvalidRequest(Reason.MALFORMED_REQUEST, what)
        return message

    return read
