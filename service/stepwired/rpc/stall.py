"""Ends the calls of readers that do not read, and of senders that do not send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

from google.protobuf.message import Message

from stepwired.errors import Failure, Reason, Throttled

T = TypeVar("T", bound=Message)

#: How often it looks within the limit; a stall is found this part of the limit late.
_LOOKS = 2


class StallWatch:
    """Ends a call whose caller does not do its part: one timer for each call, none for each message.

    Args:
        pending: What the caller has to take or to send just now, another object each time; None or True: nothing, it is
            our turn.
        end: Has the call fail.
        limit_s: How long one and the same thing may be pending.
        failure: How the call is then to fail.
    """

    def __init__(
        self, pending: Callable[[], object], end: Callable[[Failure], None], limit_s: float, failure: Failure
    ) -> None:
        self._pending = pending
        self._end = end
        self._limit_s = limit_s
        self._failure = failure
        self._seen: object = None
        self._looks = 0
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(limit_s / _LOOKS, self._look)

    def stop(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        """See whether one and the same thing is still pending, for the third time: that is the whole limit."""
        pending = self._pending()
        is_callers_turn = pending is not None and pending is not True
        self._looks = self._looks + 1 if is_callers_turn and pending is self._seen else 0
        self._seen = pending if is_callers_turn else None
        if self._looks < _LOOKS:
            self._timer = self._loop.call_later(self._limit_s / _LOOKS, self._look)
            return
        self._end(self._failure)


class Incoming(Generic[T]):
    """The messages of a request stream, with a note of when the next one is waited for.

    Whoever sends only empty messages is waited for all the while: they bring nothing and would keep a place for ever.
    """

    def __init__(self, messages: AsyncIterator[T]) -> None:
        self._messages = messages
        self._next = object()
        self.awaited: object = None
        """Stands for the message that the caller has to send; None while it is our turn."""

    def __aiter__(self) -> Incoming[T]:
        return self

    async def __anext__(self) -> T:
        self.awaited = self._next
        try:
            message = await anext(self._messages)
        finally:
            self.awaited = None
        if message.ByteSize():
            self._next = object()
        return message


def unread(limit_s: float) -> Failure:
    """How a call fails whose reader takes nothing."""
    return _stalled(Reason.SLOW_CONSUMER, "the stream was left unread", limit_s)


def unsent(limit_s: float) -> Failure:
    """How a call fails whose caller sends nothing."""
    return _stalled(Reason.SLOW_PRODUCER, "nothing was sent, and the request was not at its end,", limit_s)


def _stalled(reason: Reason, what: str, limit_s: float) -> Failure:
    limit = f"{limit_s:g}"
    return Throttled(reason, f"{what} for {limit} s", metadata={"limitSeconds": limit})
