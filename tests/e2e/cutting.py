"""A way to a server on which connections are reset, at any moment."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class CuttingProxy:
    """Passes bytes on in both directions until it resets a connection.

    Attributes:
        target: Where connections go, as `host:port`; may change.
        cuts: How many connections it has reset.
    """

    def __init__(self, target: str, seed: int) -> None:
        self.target = target
        self.cuts = 0
        self.address = ""
        self._random = random.Random(seed)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: reset after a random number of bytes to the client, or after a moment."""
        host, _, port = self.target.rpartition(":")
        try:
            to_server = await asyncio.open_connection(host, int(port))
        except OSError:  # the server is being restarted
            _reset(writer)
            return
        left_bytes = self._random.choice([200, 1000, 5000, 20_000]) * self._random.random()
        try:
            async with asyncio.timeout(0.15 * self._random.random()), asyncio.TaskGroup() as both:
                both.create_task(_pass_on(reader, to_server[1], 1e9))
                both.create_task(_pass_on(to_server[0], writer, left_bytes))
        except* (OSError, TimeoutError, _Cut):
            pass
        finally:
            self.cuts += 1
            _reset(writer)
            _reset(to_server[1])


class _Cut(Exception):
    pass


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left_bytes: float) -> None:
    while data := await reader.read(65536):
        writer.write(data[: int(max(left_bytes, 0))])
        await writer.drain()
        left_bytes -= len(data)
        if left_bytes < 0:
            break
    raise _Cut


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close without the farewell that TCP knows."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def cutting(target: str, seed: int = 3) -> AsyncGenerator[CuttingProxy]:
    """Run one."""
    proxy = CuttingProxy(target, seed)
    tasks: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(proxy.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        while tasks:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
