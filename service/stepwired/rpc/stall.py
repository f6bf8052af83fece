"""Ends the calls of readers that do not read."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from stepwired.errors import Failure, Reason, Throttled

#: How often it looks within the limit; a stall is found this part of the limit late.
_LOOKS = 2


class Watched(Protocol):
    """A call that sends a stream."""

    writing: Any
    """The message on its way to the reader; True between messages; None before the first."""

    def end(self, failure: Failure) -> None:
        """Have the call fail with `failure`."""


class StallWatch:
    """Ends a call whose reader takes nothing: one timer for each call, none for each message."""

    def __init__(self, call: Watched, limit_s: float) -> None:
        self._call = call
        self._limit_s = limit_s
        self._seen: Any = None
        self._looks = 0
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(limit_s / _LOOKS, self._look)

    def stop(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        """See whether one and the same message is still on its way, for the third time: that is the whole limit."""
        writing = self._call.writing
        is_busy = writing is not None and writing is not True  # else it waits for us, not for the reader
        self._looks = self._looks + 1 if is_busy and writing is self._seen else 0
        self._seen = writing if is_busy else None
        if self._looks < _LOOKS:
            self._timer = self._loop.call_later(self._limit_s / _LOOKS, self._look)
            return
        limit = f"{self._limit_s:g}"
        message = f"the stream was left unread for {limit} s"
        self._call.end(Throttled(Reason.SLOW_CONSUMER, message, metadata={"limitSeconds": limit}))
