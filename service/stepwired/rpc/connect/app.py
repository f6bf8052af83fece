"""The ASGI application: decides on a request before its body is read, and hands the rest to the library."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from connectrpc.errors import ConnectError
from connectrpc.interceptor import MetadataInterceptor
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication
from google.protobuf import descriptor_pool

from stepwired.callers import crash
from stepwired.errors import Broken, Failure, Reason
from stepwired.limits import Limits
from stepwired.rpc import status
from stepwired.rpc.call import REQUEST_ID, request_id
from stepwired.rpc.connect import plain
from stepwired.rpc.connect.body import Format, Gzip, Raw
from stepwired.rpc.connect.context import ConnectContext, Metadata, metadata
from stepwired.rpc.connect.errors import DETAILS, aborted
from stepwired.rpc.connect.methods import ADMISSION, Admission, Method, failure_of
from stepwired.rpc.connect.reading import Body, Event, Patient, Receive, Send, Unread, Wire
from stepwired.rpc.gate import Gate
from stepwired.rpc.places import Places

log = logging.getLogger(__name__)

Scope = Mapping[str, Any]

_WEB: Final = ("application/grpc-web", "application/grpc-web+proto", "application/grpc-web+json")
_UNARY: Final = ("application/json", "application/proto", *_WEB)
_STREAMED: Final = ("application/connect+json", "application/connect+proto", *_WEB)

#: Whoever asks for compressed replies gets them as they are: to pack each token costs more than loopback does.
_ACCEPTED: Final = frozenset({"accept-encoding", "connect-accept-encoding", "grpc-accept-encoding"})


@dataclass(frozen=True, slots=True)
class _Details:
    """What the gate is told of a call."""

    method: str
    invocation_metadata: Metadata


class Connect:
    """Serves the methods of our services over Connect and gRPC-Web, as an ASGI application for HTTP/1.1.

    A call passes the gate that calls over gRPC pass, so that rights, places, draining, deadlines, stalls, metrics and
    errors are the same. Streams go both ways at once where the client can do that: a browser sends all it has to say
    before it reads, which Converse, RunInteractive and ServeSteps allow as far as they make sense so.

    Args:
        gate: Of the server.
        services: Full names of those that are served.
        limits: What calls may use.
        places: Those for calls, and the room for requests that are being read.
    """

    def __init__(self, gate: Gate, services: Iterable[str], limits: Limits, places: Places) -> None:
        self._gate = gate
        self._places = places
        self._limits = limits
        self._methods = {method.path: method for name in services for method in _methods(name)}
        self._formats = {is_json: Format(is_json=is_json, limits=limits) for is_json in (False, True)}
        self._library = _Library(self._methods.values(), limits, _Telling(self._formats[False]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        given = _text(scope["headers"])
        kind = dict(given).get("content-type", "").partition(";")[0].strip().lower()
        method = self._methods.get(path)
        if method is None:
            await plain.refuse(send, kind, 404, f"there is no method {path[:200]}")
        elif scope["method"] != "POST":
            await plain.refuse(send, kind, 405, "methods are called by POST", (("allow", "POST"),))
        elif kind not in (kinds := _UNARY if method.is_unary else _STREAMED):
            what = f"requests to this method are {', '.join(kinds)}"
            await plain.refuse(send, kind, 415, what, (("accept-post", ", ".join(kinds)),))
        else:
            headers = [(key, value) for key, value in given if key not in _ACCEPTED and key != "content-type"]
            headers.append(("content-type", kind))
            asked = {**scope, "path": path, "root_path": "", "headers": _bytes(headers)}
            await self._serve(asked, method, headers, _Sending(send), receive)

    async def _serve(
        self, scope: Scope, method: Method, headers: Sequence[tuple[str, str]], send: _Sending, receive: Receive
    ) -> None:
        kind = dict(headers)["content-type"]
        handler = self._gate.service(_Details(method.path, metadata(headers)))  # type: ignore[arg-type]
        assert handler is not None, method.path
        is_refused = handler.request_deserializer is None
        wire: Wire | None = scope.get("extensions", {}).get("stepwire")
        if wire is not None:  # of the front, which gives silent peers up
            wire.waits_for_body = False
        with self._places.bodies.share() as share, _Answered():
            form = self._formats[kind.endswith("json")]
            if is_refused:
                ADMISSION.set(Admission(handler, is_refused, form, share))
                await self._library(scope, Unread(receive, b"" if kind in _UNARY[:2] else bytes(5)), send)
            elif method.takes_stream:
                ADMISSION.set(Admission(handler, is_refused, form, share))
                with self._places.bodies.share() as ahead:
                    await self._converse(scope, Body(receive, share, ahead, wire), send, wire)
            else:
                body = Patient(receive, share, self._limits.stalled_sender_s, self._places)
                ADMISSION.set(Admission(handler, is_refused, form, body))
                try:
                    await self._library(scope, body, send)
                finally:
                    body.drop()

    async def _converse(self, scope: Scope, body: Body, send: _Sending, wire: Wire | None) -> None:
        """Serve a call whose caller may hang up while it still sends, which the library would not notice."""
        loop = asyncio.get_running_loop()
        is_gone = False

        def gone() -> None:
            nonlocal is_gone
            is_gone = True
            if not life.expired():
                life.reschedule(loop.time())

        try:
            async with asyncio.timeout(None) as life:
                reading = asyncio.create_task(body.read(gone))
                if wire is not None:
                    wire.on_hang_up = gone
                try:
                    await self._library(scope, body, send)
                finally:
                    if wire is not None:
                        wire.on_hang_up = None
                    reading.cancel()
                    await asyncio.wait((reading,))
        except TimeoutError:
            if not is_gone:
                raise


class _Sending:
    """Sends, until a send is interrupted: the reader did not read, and nothing more can be told to it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_sending = False

    async def __call__(self, event: Event) -> None:
        if self._is_sending:
            raise ConnectionError("the reader does not read")
        self._is_sending = True
        await self._send(event)
        self._is_sending = False


class _Answered:
    """Around the service of a request: lets nothing through that is over and done with."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        if isinstance(error, asyncio.CancelledError):
            # We cancelled the call and took that back; it was its last message that could not be sent.
            task = asyncio.current_task()
            return task is not None and not task.cancelling()
        # The caller is gone, or could not be told more than it was.
        return isinstance(error, ConnectionError | ConnectError)


class _Library(ConnectASGIApplication[None]):
    """The library's part: content types, envelopes, compression, timeouts, trailers."""

    def __init__(self, methods: Iterable[Method], limits: Limits, telling: _Telling) -> None:
        endpoints = {method.path: method.endpoint() for method in methods}
        super().__init__(
            service=None,
            endpoints=lambda _: endpoints,
            interceptors=(telling,),
            read_max_bytes=limits.request_bytes,
            compressions=(Gzip(),),
            codecs=(Raw("proto"), Raw("json")),
        )

    @property
    def path(self) -> str:
        return "/"


class _Telling(MetadataInterceptor[None]):
    """Puts what the library finds wrong into our words."""

    def __init__(self, format: Format) -> None:  # noqa: A002
        self._format = format

    async def on_start(self, ctx: RequestContext[Any, Any]) -> None:
        pass

    async def on_end(self, _: None, ctx: RequestContext[Any, Any], error: Exception | None, /) -> None:
        if error is None or (isinstance(error, ConnectError) and error.details):
            return
        context: Any = ConnectContext(ctx, None, self._format)
        its_id = ctx.response_trailers.get(REQUEST_ID) or request_id(context)
        ctx.response_trailers[REQUEST_ID] = its_id
        if isinstance(error, ConnectError):
            failure = failure_of(error)
        elif isinstance(error, Failure):
            failure = error
        else:
            log.error("call crashed request_id=%s method=%s %s", its_id, ctx.method.name, crash(error))
            failure = Broken(Reason.INTERNAL, f"internal error; request_id {its_id}")
        if failure is not None:
            said = status.of(failure, its_id)
            details = dict(said.trailers(its_id))[DETAILS]
            assert isinstance(details, bytes)
            raise aborted(said.code, said.message, details)


def _methods(service: str) -> Iterable[Method]:
    return map(Method, descriptor_pool.Default().FindServiceByName(service).methods)


def _text(headers: Iterable[tuple[bytes, bytes]]) -> Sequence[tuple[str, str]]:
    """Read headers; what is not UTF-8 in them is replaced, as the library would fail on it."""
    return [(key.decode("latin-1").lower(), value.decode(errors="replace")) for key, value in headers]


def _bytes(headers: Iterable[tuple[str, str]]) -> Sequence[tuple[bytes, bytes]]:
    return [(key.encode(), value.encode()) for key, value in headers]
