"""One child process that decodes, as its parent sees it."""

from __future__ import annotations

import msgspec

from stepwired.imaging import wire
from stepwired.limits import KIB
from stepwired.processes.worker import Ended
from stepwired.processes.worker import Worker as AnyWorker

_ANSWER_BYTES = 1 * KIB


class Worker(AnyWorker):
    """A running decoder. Made by `start`, always given back to `end`. Works on one file at a time."""

    @classmethod
    async def start(cls, budget: wire.Budget, timeout_s: float) -> Worker:
        """Start one and wait until it is ready.

        Raises:
            StartFailed: It ended instead, or was not ready in time.
        """
        return await cls.begin("stepwired.imaging", "images", wire.encode(budget).decode(), timeout_s)

    async def decode(self, data: bytes) -> wire.Decoded:
        """Have one file decoded. After a cancel or a failure the worker is of no further use.

        Raises:
            Ended: It is gone.
        """
        answer = await self.ask(data, most_bytes=_ANSWER_BYTES)
        try:
            return wire.read_decoded(answer)
        except msgspec.DecodeError:
            raise Ended from None
