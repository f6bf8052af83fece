"""Keeps the child processes that decode: started when there is something to decode, replaced when one went wrong."""

from __future__ import annotations

import asyncio
import logging

from stepwired.errors import Broken, Reason, Unavailable
from stepwired.imaging.wire import Budget, Decoded
from stepwired.imaging.worker import Worker
from stepwired.limits import Limits
from stepwired.processes.child import StartFailed
from stepwired.processes.worker import Ended

_LOG = logging.getLogger("stepwired.imaging")

#: Two, so that one picture that is made to take all its time does not hold up all others.
WORKERS = 2

_DAMAGED = Decoded(fault="damaged")


class Decoders:
    """A few child processes, none of them before the first picture. Make it inside the running loop.

    Args:
        limits: `image_pixels`, `image_decode_s`, `image_decode_bytes`.
        workers_count: At most so many processes; further pictures wait for one, in order.
        start_timeout_s: How long one may take to be ready.
    """

    def __init__(self, limits: Limits, *, workers_count: int = WORKERS, start_timeout_s: float = 30.0) -> None:
        self._budget = Budget(limits.image_pixels, limits.image_decode_bytes)
        self._decode_s = limits.image_decode_s
        self._workers_count = workers_count
        self._start_timeout_s = start_timeout_s
        self._turns = asyncio.Semaphore(workers_count)
        self._idle: list[Worker] = []
        self._is_closed = False

    @property
    def pids(self) -> list[int]:
        """The processes that wait for work, for tests and for people who look."""
        return [worker.pid for worker in self._idle]

    async def decode(self, data: bytes) -> Decoded:
        """What the picture is, or what is wrong with it. Cancelling this ends the process that works on it.

        Raises:
            Broken: INTERNAL: no process can be started.
            Unavailable: SERVER_DRAINING: `close` was called.
        """
        async with self._turns:
            if self._is_closed:
                raise Unavailable(Reason.SERVER_DRAINING, "the server is being stopped")
            if self._idle:
                worker = self._idle.pop()
                try:
                    return await self._decode_with(worker, data)
                except Ended:  # perhaps long ago, by the system's lack of memory, and not by this picture
                    _LOG.warning("a process that decodes pictures ended (%s)", worker.how_it_ended)
            try:
                return await self._decode_with(await self._start(), data)
            except Ended:
                return _DAMAGED

    async def close(self) -> None:
        """End all processes; pictures under way are finished first. Safe to call twice."""
        self._is_closed = True
        for _ in range(self._workers_count):
            await self._turns.acquire()
        try:
            while self._idle:
                await self._idle.pop().end()
        finally:
            for _ in range(self._workers_count):
                self._turns.release()

    async def _decode_with(self, worker: Worker, data: bytes) -> Decoded:
        is_fine = False
        try:
            async with asyncio.timeout(self._decode_s):
                decoded = await worker.decode(data)
            is_fine = True
            return decoded
        except TimeoutError:
            return _DAMAGED
        finally:
            if is_fine:
                self._idle.append(worker)
            else:
                await worker.end()

    async def _start(self) -> Worker:
        try:
            return await Worker.start(self._budget, self._start_timeout_s)
        except (StartFailed, OSError) as error:
            _LOG.error("no process that decodes pictures can be started: %s", error)
            raise Broken(Reason.INTERNAL, "internal error: pictures cannot be decoded") from None
