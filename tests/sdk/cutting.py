"""A way to a server that is cut at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Way:
    """Carries bytes both ways between whoever connects to `target` and a server."""

    def __init__(self, server: str) -> None:
        self._host, _, self._port = server.rpartition(":")
        self._writers: set[asyncio.StreamWriter] = set()
        self.target = ""

    def cut(self) -> bool:
        """End every connection, without a word; whether there was one."""
        writers, self._writers = self._writers, set()
        for writer in writers:
            writer.transport.abort()
        return bool(writers)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, int(self._port))
        self._writers |= {writer, far_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pour(reader, far_writer))
                group.create_task(_pour(far_reader, writer))
        finally:
            self._writers -= {writer, far_writer}


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:  # it was cut
        pass
    finally:
        writer.close()


@asynccontextmanager
async def way_to(server: str) -> AsyncGenerator[Way]:
    """Open a way to a server."""
    way = Way(server)
    listening = await asyncio.start_server(way.carry, "127.0.0.1", 0)
    way.target = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield way
        way.cut()
