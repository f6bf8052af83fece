"""The lightest way to ask the provider: raw bytes over kept connections. For the relay and for asking it straight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import cast

_LAST = b"\r\n0\r\n\r\n"
_MOST_BYTES = 65_536
"""Where a reply that nobody reads stops being read from the socket."""


class _Connection(asyncio.Protocol):
    """Hands each read to whoever waits for it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._got = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport | None = None
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's own class is none

    def data_received(self, data: bytes) -> None:
        self._got += data
        if len(self._got) > _MOST_BYTES and self.transport is not None:
            self.transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def read(self) -> bytes:
        if not self._got:
            if self.is_lost:
                raise ConnectionResetError("the provider went away")
            self._waiter = self._loop.create_future()
            await self._waiter
        got = bytes(self._got)
        self._got.clear()
        if len(got) > _MOST_BYTES and self.transport is not None:
            self.transport.resume_reading()
        return got


class Provider:
    """Connections to the provider, or to who speaks as it does, used again and again."""

    def __init__(self, port: int, path: str = "/v1/chat/completions") -> None:
        self._port = port
        self._head = f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n".encode()
        self._idle: list[_Connection] = []

    async def post(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """Yield what comes back, read by read, to the end of the reply. Leaving earlier closes the connection."""
        connection = self._idle.pop() if self._idle else await self._connect()
        assert connection.transport is not None
        is_whole = False
        try:
            connection.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (self._head, len(body), body))
            while not is_whole:
                data = await connection.read()
                is_whole = data.endswith(_LAST)
                yield data
        finally:
            if is_whole:
                self._idle.append(connection)
            else:
                connection.transport.abort()

    async def _connect(self) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", self._port)
        return connection


async def told(port: int, what: str) -> int | None:
    """Ask the provider when `what` (`asked/MARK` or `closed/MARK`) was: monotonic ns; None if it never was."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET /{what} HTTP/1.1\r\nhost: bench\r\n\r\n".encode())
        said = (await reader.read()).rpartition(b"\r\n")[2]
    finally:
        writer.close()
    return None if said == b"null" else int(said)
