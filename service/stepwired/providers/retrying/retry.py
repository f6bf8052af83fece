"""Tries again, and elsewhere: attempts at one reply go from the first model to its fallbacks, until one begins.

Nothing is tried again once anything of a reply was passed on, unless the caller asked for that with `restart`.
Which failure is followed by what is `retry_policy`; it is in `docs/providers.md`, too.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from stepwired.errors import Failure, InvalidRequest, Reason
from stepwired.events import (
    Attempt,
    Batch,
    ChatRequest,
    Embeddings,
    Event,
    Finished,
    Restarted,
    Started,
    time_left_s,
)
from stepwired.providers.base import Endpoint, ModelEntry
from stepwired.providers.cost import priced
from stepwired.providers.retrying.budget import RetryBudget
from stepwired.providers.retrying.policy import AGAIN, ELSEWHERE, OF_ONE_MODEL

_FIRST_WAIT_S, _LONGEST_WAIT_S, _SHORTEST_WAIT_S = 0.5, 8.0, 0.1
_LONGEST_HINT_S = 60.0
"""A provider that wants more is not waited for: the caller is told how long it takes."""

_PATIENCE_S = 2.0
"""Who has a fallback left is not waited for any longer."""


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """One model, and how it is asked."""

    model: ModelEntry
    endpoint: Endpoint
    budget: RetryBudget
    """Of the endpoint, shared by all its models."""

    chat: Callable[[ChatRequest], AsyncGenerator[Batch, None]]
    """Makes one attempt at a reply."""


class Retry:
    """What waits, and by which clock and dice. Holds no state of its own.

    Args:
        sleep: Waits for seconds.
        now: Seconds, on any clock.
        dice: A number from 0 to 1.
    """

    def __init__(
        self,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._sleep = sleep
        self._now = now
        self._dice = dice

    async def chat(self, routes: Sequence[Route], request: ChatRequest) -> AsyncGenerator[Batch, None]:
        """Make one reply; see `events.Chat`. `Finished` says what was tried, and what it cost.

        `Started` is held back until the reply has content: a model that only says that it is there can be replaced.

        Raises:
            Failure: That of the last attempt, or of the last one after which trying again may help; with more than
                one attempt, their number is in its metadata as `attempts`.
        """
        course = _Course(routes, self._now, self._dice, may_restart=request.options.restart)
        while True:
            has_begun = False
            held: list[Event] = []
            try:
                async with aclosing(course.route.chat(request)) as batches:
                    async for batch in batches:  # the way of a token
                        if has_begun and type(batch[-1]) is not Finished:
                            yield batch
                            continue
                        held += batch
                        if len(held) == 1 and type(held[0]) is Started:
                            continue
                        if not has_begun:
                            has_begun = True
                            course.begun(held)
                        if isinstance(last := held[-1], Finished):
                            held[-1] = course.finished(last)
                        yield held
                        held = []
                    return
            except Failure as failure:
                wait_s = course.next_after(failure, has_begun=has_begun)
            if wait_s:
                await self._sleep(wait_s)

    async def embed(self, route: Route, ask: Callable[[], Awaitable[Embeddings]]) -> Embeddings:
        """Make vectors; see `events.Embed`. No fallback: vectors of two models cannot be compared."""
        course = _Course([route], self._now, self._dice, may_restart=False)
        while True:
            try:
                return await ask()
            except Failure as failure:
                wait_s = course.next_after(failure, has_begun=False)
            await self._sleep(wait_s)


class _Course:
    """The attempts at one reply so far, and which comes next."""

    __slots__ = (
        "_asked_at",
        "_attempts",
        "_began_at",
        "_dice",
        "_may_restart",
        "_now",
        "_place",
        "_repeats",
        "_restart_reason",
        "_routes",
        "_telling",
        "_transient",
        "_wait_s",
        "route",
    )

    def __init__(
        self, routes: Sequence[Route], now: Callable[[], float], dice: Callable[[], float], *, may_restart: bool
    ) -> None:
        self.route = routes[0]
        self.route.budget.earn()
        self._routes = routes
        self._now = now
        self._dice = dice
        self._may_restart = may_restart
        self._place = 0
        self._repeats = 0
        self._wait_s = 0.0
        self._attempts: list[Attempt] = []
        self._asked_at = now()
        self._began_at: float | None = None
        self._restart_reason = ""
        self._transient: Failure | None = None
        self._telling: Failure | None = None

    def begun(self, events: list[Event]) -> None:
        """The attempt has its first events. They are made to say so, if the caller has part of another attempt's."""
        self._began_at = self._now()
        if self._restart_reason and isinstance(started := events[0], Started):
            number = len(self._attempts) + 1
            events[0] = Restarted(number, self._restart_reason, started.model, started.provider)

    def finished(self, event: Finished) -> Finished:
        """The reply's last event, with what was tried and what it cost."""
        self._note("")
        usage = priced(event.usage, self.route.model.price)
        return msgspec.structs.replace(event, attempts=tuple(self._attempts), usage=usage)

    def next_after(self, failure: Failure, *, has_begun: bool) -> float:
        """Choose what comes next, which is `route` then; after how many seconds.

        Raises:
            Failure: Nothing does.
        """
        self._note(failure.reason)
        if has_begun and not self._may_restart:
            raise failure
        if has_begun or self._restart_reason:
            self._restart_reason = failure.reason
        if failure.is_transient:
            self._transient = failure
        if self._place == 0 or not isinstance(failure, InvalidRequest):
            self._telling = failure
        wait_s = self._wait_for(failure, has_begun=has_begun or bool(self._restart_reason))
        if wait_s is None:
            if not (failure.reason in ELSEWHERE or self._is_fallbacks_own(failure)) or not self._has_fallback:
                raise self._final(failure)
            self._place += 1
            self.route = self._routes[self._place]
            self.route.budget.earn()
            self._repeats, wait_s = 0, 0.0
            _log.warning(
                "%s is asked in place of %s: %s", self.route.model.name, self._routes[0].model.name, failure.reason
            )
        else:
            self._repeats += 1
        self._wait_s = wait_s
        self._asked_at, self._began_at = self._now() + wait_s, None
        return wait_s

    @property
    def _has_fallback(self) -> bool:
        return self._place + 1 < len(self._routes)

    def _wait_for(self, failure: Failure, *, has_begun: bool) -> float | None:
        """Seconds until the same model is asked again; None if it is not."""
        again = AGAIN.get(failure.reason)
        if again is None:
            return None
        # Who wants a reply to begin again wants it no less where nothing of it has to be forgotten.
        most = again.amid if has_begun else max(again.before, again.amid * self._may_restart)
        if self._repeats >= most:
            return None
        if failure.reason is Reason.PROVIDER_PROTOCOL_ERROR and "httpStatus" in failure.metadata:
            return None  # it answered in order, only not what was asked
        if failure.reason is Reason.PROVIDER_TIMEOUT and self._has_fallback:
            return None
        hint_s = failure.told_to_wait_s
        if hint_s is not None:
            # Never early, and not all at once.
            wait_s = max(hint_s, _SHORTEST_WAIT_S) + self._dice() * min(0.2 * hint_s, 0.4)
        else:
            most_s = min(_FIRST_WAIT_S * 2**self._repeats, _LONGEST_WAIT_S)
            wait_s = max(self._dice() * most_s, _SHORTEST_WAIT_S)
        longest_s = _PATIENCE_S if self._has_fallback else _LONGEST_HINT_S
        if (wait_s if hint_s is None else hint_s) > longest_s or wait_s >= time_left_s():
            return None
        # Who says when to come back after a rate limit has room for us then: that is no load that an outage gets.
        is_invited = hint_s is not None and failure.reason is Reason.PROVIDER_RATE_LIMITED
        return wait_s if is_invited or self.route.budget.spend() else None

    def _note(self, reason: str) -> None:
        endpoint, model = self.route.endpoint.name, self.route.model.provider_model
        until = self._now() if self._began_at is None else self._began_at
        self._attempts.append(Attempt(endpoint, model, reason, max(until - self._asked_at, 0.0), self._wait_s))

    def _is_fallbacks_own(self, failure: Failure) -> bool:
        """Whether a fallback only cannot take what another could: it has no say then."""
        return self._place > 0 and isinstance(failure, InvalidRequest) and failure.reason in OF_ONE_MODEL

    def _final(self, failure: Failure) -> Failure:
        """What the caller is told: that trying again may help, if it may; not what a fallback only could not read."""
        failure = self._telling or failure
        told = failure if failure.is_transient or self._transient is None else self._transient
        if len(self._attempts) > 1:
            told.metadata["attempts"] = str(len(self._attempts))
        return told
