"""The places for calls: how many there are, who has one, and how all are ended when the server is."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from stepwired.errors import Failure, Reason, Subject, Throttled, Unavailable
from stepwired.limits import Limits
from stepwired.rpc.bodies import Bodies

log = logging.getLogger(__name__)

#: How long calls that were ended may take to clean up, and then to be told so.
_FINALIZERS_S = 5.0
_FAREWELL_S = 1.0


class Member(Protocol):
    """A call that is being served, by gRPC or by another front, or a request that is being read."""

    has_place: bool
    """Whether it takes one of the places of `max_calls`. For `Places` to write."""

    is_endless: bool
    """Whether only its caller ends it, so that draining does not wait for it."""

    is_serving: bool
    """Whether its caller serves the calls of others, so that draining ends it when those have ended."""

    def end(self, failure: Failure, /) -> None:
        """Have the call fail with `failure` as soon as its generators are closed. The first to ask wins."""


class Places:
    """All calls of one server, whichever front they come through."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.bodies = Bodies(limits.bodies_bytes)
        """The room for requests that are being read."""
        self._live: set[Member] = set()
        self._taken = 0
        self._busy = 0
        """Those of the places whose calls draining waits for."""

        self._tasks: set[asyncio.Task[Any]] = set()
        self._others: set[asyncio.Task[Any]] = set()
        """Those of fronts that end their connections by themselves, after the server."""

        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._ended = asyncio.Event()
        self._ended.set()

    def refusal(self) -> Failure | None:
        """Say why no further call is taken just now; None if one is."""
        if self._draining:
            return draining()
        if self._taken >= self._limits.max_calls:
            return Throttled(
                Reason.CONCURRENCY_LIMITED,
                f"the server serves {self._limits.max_calls} calls already; try again",
                metadata={"limit": str(self._limits.max_calls)},
                subject=Subject("server", "calls"),
            )
        return None

    def enter(self, member: Member) -> None:
        """Take note of a call, so that the end of the server is the end of it. Each is left, too."""
        self._live.add(member)
        self._ended.clear()

    def take(self, member: Member) -> None:
        """Give a place to a call that has entered.

        Raises:
            Throttled: CONCURRENCY_LIMITED.
            Unavailable: SERVER_DRAINING.
        """
        if (refusal := self.refusal()) is not None:
            raise refusal
        member.has_place = True
        self._taken += 1
        if not member.is_serving:
            self._busy += 1
            self._idle.clear()

    def leave(self, member: Member) -> None:
        """Take note that the work of a call is over."""
        self._live.discard(member)
        if not self._live:
            self._ended.set()
        if member.has_place:
            member.has_place = False
            self._taken -= 1
            if not member.is_serving:
                self._busy -= 1
                if not self._busy:
                    self._idle.set()

    def track(self, task: asyncio.Task[Any], *, is_ours: bool = True) -> None:
        """Have the end of the server wait for `task`; for a little while only if another front ends it."""
        tasks = self._tasks if is_ours else self._others
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def drain(self, grace_s: float) -> None:
        """Take no further calls, give those that run `grace_s`, end the others and wait until they have cleaned up."""
        self._draining = True
        for member in tuple(self._live):
            if member.is_endless:
                member.end(draining())
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            log.info("draining: %d calls were ended after %.1f s", self._busy, grace_s)
        for member in tuple(self._live):
            member.end(draining())
        try:
            async with asyncio.timeout(_FINALIZERS_S):
                await self._ended.wait()
        except TimeoutError:
            log.warning(
                "draining: %d calls had not ended %.0f s after they were told to", len(self._live), _FINALIZERS_S
            )
        if tasks := self._tasks | self._others:
            # What readers that do not read cannot be told, the end of their connection tells.
            await asyncio.wait(tasks, timeout=_FAREWELL_S)

    async def join(self) -> None:
        """Wait until the last handler is gone whose connection has been ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)


def draining() -> Failure:
    """How a call fails that a server which shuts down does not serve, or no longer."""
    return Unavailable(Reason.SERVER_DRAINING, "the server is shutting down; try again")
