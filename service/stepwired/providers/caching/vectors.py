"""Computes the vector of a text once: what is known is not asked for again, nor what is being asked for."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import replace

from stepwired.errors import Failure, Reason
from stepwired.events import Deadline, Embeddings, Usage, UsageSource, deadline
from stepwired.providers.caching.memory import Keeper, digest

#: Makes vectors of texts, all or none.
Compute = Callable[[tuple[str, ...]], Awaitable[Embeddings]]

#: Failures that another text of the same call may have caused.
_OF_SOME_TEXT = frozenset(
    {
        Reason.INVALID_INPUT_TEXT,
        Reason.CONTEXT_LENGTH_EXCEEDED,
        Reason.CONTENT_BLOCKED,
        Reason.PROVIDER_REJECTED_REQUEST,
        Reason.PROVIDER_REQUEST_TOO_LARGE,
        Reason.PROVIDER_RESPONSE_TOO_LARGE,
    }
)


#: How a failure names one text.
_TEXT = re.compile(r"\btexts\[(\d+)\]")

#: Model and vector of each key.
_Made = dict[bytes, tuple[str, bytes]]


class _Flight:
    """Vectors that are being made, and how many calls wait for them."""

    __slots__ = ("deadline", "failure", "keys", "made", "sent", "task", "usage", "waiters")

    def __init__(self, sent: Sequence[bytes]) -> None:
        self.sent = sent
        """A key for each text, in the order in which they were sent."""
        self.keys = frozenset(sent)
        self.waiters = 0
        self.deadline = Deadline(-math.inf)
        """The last of those who wait."""
        self.made: _Made = {}
        self.usage = Usage()
        self.failure: Failure | None = None
        self.task: asyncio.Task[None] | None = None


class _OtherTextFailed(Exception):
    """What failed may be a text that is not ours."""


class Vectors:
    """Vectors of all calls.

    Args:
        keeper: Where they are kept; None: nowhere, so that only what is being made is shared.
    """

    def __init__(self, keeper: Keeper | None) -> None:
        self._keeper = keeper
        self._flights: dict[bytes, _Flight] = {}

    async def embed(self, scope: bytes, texts: Sequence[str], compute: Compute) -> Embeddings:
        """Vectors of `texts`, in order, computing those that nobody has and nobody is computing.

        Equal texts share one computation, whichever call began it. It goes on while anybody waits for it. The usage is
        that of the part that this call began.

        Args:
            scope: What else a vector depends on: the model, and whose key it is computed with.
            texts: Any number; equal ones are computed once.
            compute: Makes those that are missing.

        Raises:
            Failure: As `compute`.
        """
        keys = {text: digest(scope, text.encode()) for text in texts}
        places = {keys[text]: len(texts) - index for index, text in enumerate(reversed(texts), 1)}
        known = await self._known(keys.values())
        missing = [text for text, key in keys.items() if key not in known]
        flights = {flight for text in missing if (flight := self._flights.get(keys[text])) is not None}
        own = [text for text in missing if keys[text] not in self._flights]
        mine = self._begin(own, [keys[text] for text in own], compute) if own else None
        if mine is not None:
            flights.add(mine)
        needed = frozenset(keys[text] for text in missing)
        try:
            await self._land(flights, needed, places)
        except _OtherTextFailed:
            try:
                made = await compute(tuple(missing))
            except Failure as failure:
                raise _placed(failure, [keys[text] for text in missing], places) from None
            own, usage = missing, made.usage
            known |= {keys[text]: (made.model, row) for text, row in zip(missing, made.rows, strict=True)}
        else:
            for flight in flights:
                known |= flight.made
            usage = mine.usage if mine is not None else Usage(UsageSource.PROVIDER, input_tokens=0, cost_usd=0.0)
        rows = tuple(known[keys[text]][1] for text in texts)
        model = next((known[key][0] for key in keys.values()), "")
        return Embeddings(model, len(rows[0]) // 4 if rows else 0, rows, usage, len(keys) - len(own))

    async def _known(self, keys: Iterable[bytes]) -> _Made:
        if self._keeper is None:
            return {}
        kept = await self._keeper.get(keys)
        return {key: (name.decode(), row) for key, value in kept.items() for name, _, row in [value.partition(b"\0")]}

    def _begin(self, texts: Sequence[str], keys: Sequence[bytes], compute: Compute) -> _Flight:
        flight = _Flight(keys)
        self._flights |= dict.fromkeys(keys, flight)
        # In a context of its own: it has the time of all who wait for it, not of the one who came first.
        context = copy_context()
        context.run(deadline.set, flight.deadline)
        flight.task = asyncio.create_task(self._make(flight, texts, keys, compute), context=context)
        return flight

    async def _make(self, flight: _Flight, texts: Sequence[str], keys: Sequence[bytes], compute: Compute) -> None:
        try:
            made = await compute(tuple(texts))
            flight.usage = made.usage
            flight.made = {key: (made.model, row) for key, row in zip(keys, made.rows, strict=True)}
            if self._keeper is not None:
                name = made.model.replace("\0", "").encode() + b"\0"
                await self._keeper.put({key: name + row for key, (_, row) in flight.made.items()})
        except Failure as failure:
            flight.failure = failure
        finally:
            self._forget(flight)

    async def _land(self, flights: set[_Flight], needed: frozenset[bytes], places: Mapping[bytes, int]) -> None:
        """Wait for them all.

        Raises:
            _OtherTextFailed: One failed that also has texts of others, maybe because of these.
            Failure: One failed.
        """
        for flight in flights:
            flight.waiters += 1
            flight.deadline.at_s = max(flight.deadline.at_s, deadline.get().at_s)
        waiting = {flight.task for flight in flights if flight.task is not None}
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                for flight in flights:
                    if (failure := flight.failure) is not None:
                        is_others = failure.reason in _OF_SOME_TEXT and flight.keys - needed
                        raise _OtherTextFailed if is_others else _placed(failure, flight.sent, places)
        finally:
            await self._leave(flights)

    async def _leave(self, flights: set[_Flight]) -> None:
        """Wait no longer. What nobody waits for is ended."""
        ended: list[asyncio.Task[None]] = []
        for flight in flights:
            flight.waiters -= 1
            if not flight.waiters and flight.task is not None and not flight.task.done():
                self._forget(flight)
                flight.task.cancel()
                ended.append(flight.task)
        if ended:
            await asyncio.wait(ended)

    def _forget(self, flight: _Flight) -> None:
        """Let nobody join it."""
        for key in flight.keys:
            if self._flights.get(key) is flight:
                del self._flights[key]


def _placed(failure: Failure, sent: Sequence[bytes], places: Mapping[bytes, int]) -> Failure:
    """The failure as one caller may read it: a text is named by its place in that caller's list.

    Args:
        failure: Of a computation, where a text has its place among those that were sent.
        sent: Keys of these.
        places: Of the caller's texts, by key.
    """

    def place(named: re.Match[str]) -> str:
        index = int(named[1])
        own = places.get(sent[index]) if index < len(sent) else None
        return "texts" if own is None else f"texts[{own}]"

    violations = [
        replace(each, field=_TEXT.sub(place, each.field), description=_TEXT.sub(place, each.description))
        for each in failure.violations
    ]
    return type(failure)(
        failure.reason,
        _TEXT.sub(place, str(failure)),
        metadata=failure.metadata,
        retry_after_s=failure.told_to_wait_s,
        violations=violations,
        subject=failure.subject,
    )
