"""A child process that answers one question after the other, as its parent sees it."""

from __future__ import annotations

import asyncio
import select
import socket
from contextlib import suppress
from typing import Self

from stepwired.limits import KIB
from stepwired.processes import frames
from stepwired.processes.child import Child, StartFailed

_PIECE_BYTES = 256 * KIB
"""Written at once: a loop that hands over 20 MiB in one go does nothing else meanwhile."""


class Ended(Exception):
    """The process ended, or said what nobody asked, instead of answering."""


class Worker(Child):
    """A running process with a socket to us. Made by `begin`, always given back to `end`. Answers one thing at once."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def begin(cls, module: str, name: str, said: str, timeout_s: float) -> Self:
        """Start one and wait until it is ready.

        Args:
            module: What to run; it begins with `processes.serving.serving`.
            name: For the log.
            said: The one line that it is told.
            timeout_s: How long it may take to be ready.

        Raises:
            StartFailed: It ended instead, or was not ready in time.
            OSError: The system has no process, or no descriptor, left.
        """
        ours, theirs = socket.socketpair()
        worker: Self | None = None
        ready = False
        with theirs:
            writer: asyncio.StreamWriter | None = None
            try:
                reader, writer = await asyncio.open_unix_connection(sock=ours)
                worker = await cls.spawn(module, ["--socket", str(theirs.fileno())], name, pass_fds=[theirs.fileno()])
                worker.reader, worker.writer = reader, writer
                async with asyncio.timeout(timeout_s):
                    await worker.handshake(said)
                ready = True
                return worker
            except TimeoutError as cause:
                raise StartFailed("it was not ready in time") from cause
            finally:
                if not ready:
                    ours.close() if writer is None else writer.close()
                    if worker is not None:
                        await worker.end(grace_s=0.0)

    def has_hung_up(self) -> bool:
        """Whether its end of the socket is closed. Before a question is asked nothing else is to be read."""
        poll = select.poll()
        poll.register(self.writer.get_extra_info("socket"), select.POLLIN)
        return bool(poll.poll(0))

    async def ask(self, question: bytes, *, most_bytes: int) -> bytes:
        """Send a question and wait for its answer. After a cancel or a failure the worker is of no further use.

        Args:
            question: What to send.
            most_bytes: An answer that is longer is none.

        Raises:
            Ended: It is gone.
        """
        try:
            self.writer.write(frames.head_of(question))
            view = memoryview(question)
            for start in range(0, len(question), _PIECE_BYTES):
                self.writer.write(view[start : start + _PIECE_BYTES])
                await self.writer.drain()
            length = frames.length_of(await self.reader.readexactly(frames.LENGTH_BYTES))
            if length > most_bytes:
                raise Ended
            return await self.reader.readexactly(length)
        except (OSError, EOFError):
            raise Ended from None

    async def end(self, grace_s: float = 0.0) -> None:
        """End it at once, and wait until it is gone: it holds nothing that is worth keeping."""
        self.writer.close()
        try:
            await super().end(grace_s)
        finally:
            with suppress(OSError):
                await self.writer.wait_closed()
