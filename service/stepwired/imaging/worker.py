"""One child process that decodes, as its parent sees it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import msgspec

from stepwired.imaging import wire
from stepwired.limits import KIB
from stepwired.processes.child import Child, StartFailed

_PIECE_BYTES = 256 * KIB
"""Written at once: a loop that hands over 20 MiB in one go does nothing else meanwhile."""


class Ended(Exception):
    """The process ended, or said what nobody asked, instead of answering."""


class Worker(Child):
    """A running decoder. Made by `start`, always given back to `end`. Works on one file at a time."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def start(cls, budget: wire.Budget, timeout_s: float) -> Worker:
        """Start one and wait until it is ready.

        Raises:
            StartFailed: It ended instead, or was not ready in time.
        """
        ours, theirs = socket.socketpair()
        worker: Worker | None = None
        ready = False
        with theirs:
            writer: asyncio.StreamWriter | None = None
            try:
                reader, writer = await asyncio.open_unix_connection(sock=ours)
                arguments = ["--socket", str(theirs.fileno())]
                worker = await cls.spawn("stepwired.imaging", arguments, "images", pass_fds=[theirs.fileno()])
                worker.reader, worker.writer = reader, writer
                async with asyncio.timeout(timeout_s):
                    await worker.handshake(wire.encode(budget).decode())
                ready = True
                return worker
            except TimeoutError as cause:
                raise StartFailed("it was not ready in time") from cause
            finally:
                if not ready:
                    ours.close() if writer is None else writer.close()
                    if worker is not None:
                        await worker.end(grace_s=0.0)

    async def decode(self, data: bytes) -> wire.Decoded:
        """Have one file decoded. After a cancel or a failure the worker is of no further use.

        Raises:
            Ended: It is gone.
        """
        try:
            self.writer.write(len(data).to_bytes(wire.LENGTH_BYTES, "big"))
            view = memoryview(data)
            for start in range(0, len(data), _PIECE_BYTES):
                self.writer.write(view[start : start + _PIECE_BYTES])
                await self.writer.drain()
            line = await self.reader.readline()
            return wire.read_decoded(line)
        except (OSError, ValueError, msgspec.DecodeError):
            raise Ended from None

    async def end(self, grace_s: float = 0.0) -> None:
        """End it at once, and wait until it is gone: it holds nothing that is worth keeping."""
        self.writer.close()
        try:
            await super().end(grace_s)
        finally:
            with suppress(OSError):
                await self.writer.wait_closed()
