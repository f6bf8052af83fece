"""Who is next: work is handed to whichever process is free, one piece of each run in rotation."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from stepwired.sandbox import wire


def _unanswered() -> asyncio.Future[bytes | None]:
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True, eq=False)
class Job:
    """One question that some process shall answer."""

    ask: wire.Ask
    home: int = -1
    """The process that has the function ready, if it is free."""

    place: int = -1
    """The process that got the question; it may keep something for the run from then on."""

    ended_by: int = 0
    """The signal that ended the process before it could answer."""

    answer: asyncio.Future[bytes | None] = field(default_factory=_unanswered)
    """None if the process ended. Cancelled by whoever does not want it any more."""


class Turns:
    """The queue of all jobs. One run with many waits no less, and makes no other wait longer, than one with one."""

    def __init__(self) -> None:
        self._idle: OrderedDict[int, asyncio.Future[Job | None]] = OrderedDict()
        self._waiting: OrderedDict[int, deque[Job]] = OrderedDict()

    def put(self, job: Job) -> None:
        """Hand a job to a free process, its home or the one that is free longest; else let it wait."""
        if self._idle:
            place = job.home if job.home in self._idle else next(iter(self._idle))
            self._idle.pop(place).set_result(job)
        else:
            self._waiting.setdefault(job.ask.run, deque()).append(job)

    async def take(self, place: int) -> Job | None:
        """Wait for the next job for this process; None after `wake`."""
        while self._waiting:
            run, jobs = self._waiting.popitem(last=False)
            job = jobs.popleft()
            if jobs:
                self._waiting[run] = jobs
            if not job.answer.done():
                return job
        self._idle[place] = asyncio.get_running_loop().create_future()
        try:
            return await self._idle[place]
        finally:
            self._idle.pop(place, None)

    def wake(self, place: int) -> None:
        """Have a free process look whether there is something to tell; one at work will do so by itself."""
        if place in self._idle:
            self._idle.pop(place).set_result(None)
