"""The listening socket, its connections, and what a behaviour can do to one request."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self, cast


@dataclass(frozen=True)
class Request:
    """One request, as it came."""

    at: float
    method: str
    path: str
    head: bytes
    headers: Mapping[str, str]
    """Names in lower case; of equal names the last."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Connection:
    """One connection, open or over."""

    closed_at: float | None = None
    """When the client's FIN or RST arrived, or we closed."""
    sent_bytes: int = 0
    requests: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)


class _Peer(asyncio.Protocol):
    """A protocol rather than a stream, because it learns of the client's end while it is busy sending."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.connection = Connection()
        self.buffer = bytearray()
        self.arrived = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # by duck: uvloop's are of no such class
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.provider.connections.append(self.connection)
        self.provider.open[self] = asyncio.create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.arrived.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def eof_received(self) -> bool:
        self._over()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._over()

    def _over(self) -> None:
        if self.connection.closed_at is None:
            self.connection.closed_at = time.monotonic()
            self.connection.closed.set()
            task = self.provider.open.pop(self, None)
            if task is not None and task is not asyncio.current_task():
                task.cancel()

    async def more(self) -> None:
        self.arrived.clear()
        await self.arrived.wait()

    async def _serve(self) -> None:
        try:
            while not self.transport.is_closing():
                request = await self._request()
                self.connection.requests += 1
                self.provider.requests.append(request)
                self.provider.asked.set()
                await self.provider.behaviour(Exchange(request, self, len(self.provider.requests) - 1))
        except ConnectionError:
            pass
        except Exception as error:
            self.provider.errors.append(error)
            self.transport.abort()
            raise
        finally:
            self.provider.open.pop(self, None)

    async def _request(self) -> Request:
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            await self.more()
        head = bytes(self.buffer[:end])
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while self.provider.is_reading and len(self.buffer) < end + 4 + length:
            await self.more()
        body = bytes(self.buffer[end + 4 : end + 4 + length])
        del self.buffer[: end + 4 + length]
        return Request(time.monotonic(), method, path, head, headers, body)


class Exchange:
    """One request, and the socket on which to answer it, in whatever way."""

    def __init__(self, request: Request, peer: _Peer, number: int) -> None:
        self.request = request
        self.connection = peer.connection
        self.number = number
        """0 for the provider's first request."""
        self._peer = peer

    async def send(self, data: bytes) -> None:
        """Hand `data` to the socket, and wait while it takes no more."""
        if self._peer.transport.is_closing():
            raise ConnectionResetError("the connection is over")
        self._peer.transport.write(data)
        await self._peer.writable.wait()
        self.connection.sent_bytes += len(data)

    async def send_cut(self, data: bytes, cuts: Iterable[int], gap_s: float = 0.0) -> None:
        """Send `data` in pieces that end at `cuts`; the loop, and with it the reader, turns in between."""
        edges = [0, *sorted(cuts), len(data)]
        for start, end in pairwise(edges):
            if end > start:
                await self.send(data[start:end])
            await asyncio.sleep(gap_s)

    async def send_at_rate(self, data: bytes, size: int, gap_s: float) -> None:
        """Send `size` bytes each `gap_s`."""
        await self.send_cut(data, range(size, len(data), size), gap_s)

    async def head(self, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Send a head; `transfer-encoding: chunked` unless the headers say how the body ends."""
        named = {name.lower(): value for name, value in (headers or {}).items()}
        if not named.keys() & {"content-length", "transfer-encoding", "connection"}:
            named["transfer-encoding"] = "chunked"
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        await self.send(f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode("latin-1"))

    async def chunk(self, data: bytes) -> None:
        """Send one chunk of a chunked body, with a single write."""
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        """End a chunked body."""
        await self.send(b"0\r\n\r\n")

    async def body(self, data: bytes, status: int = 200, content_type: str = "application/json") -> None:
        """Send a whole response."""
        await self.head(status, {"content-type": content_type, "content-length": str(len(data))})
        await self.send(data)

    def finish(self) -> None:
        """Close in the orderly way (FIN) once all is sent."""
        self._peer.transport.close()

    def half_close(self) -> None:
        """Say that nothing more comes, and go on listening."""
        self._peer.transport.write_eof()

    def reset(self) -> None:
        """Close with RST."""
        sock = self._peer.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._peer.transport.abort()

    def stop_reading(self) -> None:
        """Take no more of what the client sends. Its end goes unnoticed, too."""
        self._peer.transport.pause_reading()

    async def gone(self) -> None:
        """Wait until the client hangs up; never returns, since that cancels the behaviour."""
        await self.connection.closed.wait()


Behaviour = Callable[[Exchange], Awaitable[None]]


class Provider:
    """Listens on a port of 127.0.0.1 while its context lasts.

    Args:
        behaviour: What is done to each request; may be replaced at any time.
        tls: Speak TLS with it.
        is_reading: Whether requests' bodies are read before the behaviour runs.
    """

    def __init__(self, behaviour: Behaviour, *, tls: ssl.SSLContext | None = None, is_reading: bool = True) -> None:
        self.behaviour = behaviour
        self.is_reading = is_reading
        self.requests: list[Request] = []
        self.connections: list[Connection] = []
        self.errors: list[Exception] = []
        """What behaviours raised: defects of the test."""
        self.asked = asyncio.Event()
        """Set with each request; clear it to wait for the next."""
        self.open: dict[_Peer, asyncio.Task[None]] = {}
        self._tls = tls

    @property
    def base_url(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}/v1"

    @property
    def live(self) -> int:
        """Connections that are open now."""
        return sum(connection.closed_at is None for connection in self.connections)

    async def closed(self, count: int = 1, timeout_s: float = 30.0) -> list[float]:
        """Wait until the first `count` connections, which were made before, are closed; when they were."""
        assert len(self.connections) >= count
        async with asyncio.timeout(timeout_s):
            for connection in self.connections[:count]:
                await connection.closed.wait()
        return [connection.closed_at or 0.0 for connection in self.connections[:count]]

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Peer(self), "127.0.0.1", 0, ssl=self._tls, backlog=4096)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        tasks = list(self.open.values())
        for peer in list(self.open):
            peer.transport.abort()
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
        await self._server.wait_closed()
        if self.errors:
            raise AssertionError("a behaviour failed") from self.errors[0]
