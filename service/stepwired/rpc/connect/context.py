"""What a handler is told about a call that came over HTTP, in the words of gRPC."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator, Coroutine, Iterable, Sequence
from typing import Any, NoReturn

import grpc
from connectrpc.request import Headers, RequestContext

from stepwired.rpc.connect.body import Format
from stepwired.rpc.connect.errors import DETAILS, Aborted, aborted
from stepwired.rpc.connect.pushing import Outlet

Metadata = Sequence[tuple[str, str | bytes]]


class ConnectContext:
    """Stands in for gRPC's context of a call. Has what our handlers and what wraps them use of that.

    Args:
        request: The library's own.
        handler: Of the method, as the gate gave it.
        format: How messages travel.
    """

    has_front = True
    """Whether the front that it came through ends its connection."""

    def __init__(self, request: RequestContext[Any, Any], handler: Any, format: Format) -> None:  # noqa: A002
        self._request = request
        self._handler = handler
        self._format = format
        self._outlet = Outlet()
        self._code: grpc.StatusCode | None = None

    def invocation_metadata(self) -> Metadata:
        return metadata(self._request.request_headers.allitems())

    def peer(self) -> str:
        address = self._request.client_address
        if address is None:  # of a socket that has none
            return "unix:"
        host, _, port = address.rpartition(":")
        return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{address}"

    def time_remaining(self) -> float | None:
        left_ms = self._request.timeout_ms
        return None if left_ms is None else max(left_ms / 1000, 0.0)

    def code(self) -> grpc.StatusCode | None:
        """The status that the call was ended with."""
        return self._code

    def set_trailing_metadata(self, trailers: Metadata) -> None:
        self._request.response_trailers.clear()
        _put(self._request.response_trailers, trailers)

    async def send_initial_metadata(self, headers: Metadata) -> None:
        """Have `headers` sent with the first reply: HTTP has no message of its own for them."""
        _put(self._request.response_headers, headers)

    async def write(self, message: Any) -> None:
        """Send a reply; returns when the reader has room for the next."""
        await self._outlet.put(await self.encoded(message))

    async def encoded(self, message: Any) -> bytes:
        return await self._format.write(message, self._handler.response_serializer)

    async def abort(self, code: grpc.StatusCode, message: str = "", trailers: Metadata = ()) -> NoReturn:
        """End the call with a status.

        Raises:
            Aborted: Always.
        """
        self._code = code
        details = dict(trailers).get(DETAILS, b"")
        assert isinstance(details, bytes)
        _put(self._request.response_trailers, ((key, value) for key, value in trailers if key != DETAILS))
        raise aborted(code, message, details)

    def refused(self, failure: Aborted) -> Aborted:
        """Take note of how the call will end."""
        self._code = failure.status
        return failure

    def replies(self, handling: Coroutine[Any, Any, None]) -> AsyncGenerator[bytes, None]:
        """Run a handler that writes: what it has written, message by message."""
        return self._outlet.drawn(handling)


def metadata(headers: Iterable[tuple[str, str]]) -> Metadata:
    """Headers as gRPC has them: those whose name ends in `-bin` are bytes."""
    return tuple((key, _unpacked(value) if key.endswith("-bin") else value) for key, value in headers)


def _unpacked(value: str) -> str | bytes:
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        return value


def _put(into: Headers, given: Iterable[tuple[str, str | bytes]]) -> None:
    for key, value in given:
        into[key] = value if isinstance(value, str) else base64.b64encode(value).decode().rstrip("=")
