"""One call over a line: what has come of it and was not taken yet."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol, Self

from stepwired.errors import Failure
from stepwired.events import Json
from stepwired.limits import Limits


class Holder(Protocol):
    """What holds the calls: `line.Line`."""

    def hungers(self, opened: OpenCall, /) -> None: ...

    def fed(self, opened: OpenCall, /) -> None: ...

    def took(self, opened: OpenCall, size: int, /) -> None: ...

    def leave(self, opened: OpenCall, /) -> None: ...


class OpenCall:
    """A call, as the run that needs it sees it: its outputs, in order. Closed by whoever opened it.

    Raises what ended it, behind its last output.
    """

    __slots__ = ("_bytes", "_failure", "_is_over", "_line", "_outputs", "_waiter", "call_id", "was_answered")

    def __init__(self, line: Holder, call_id: str) -> None:
        self.call_id = call_id
        self.was_answered = False
        """Whether anything came of it, so that it cannot be run again unnoticed."""
        self._line = line
        self._outputs: deque[tuple[Json, int]] = deque()
        self._bytes = 0
        self._is_over = False
        self._failure: Failure | None = None
        self._waiter: asyncio.Future[None] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Json:
        while not self._outputs:
            if self._is_over:
                raise self._failure or StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            self._line.hungers(self)
            try:
                await self._waiter
            finally:
                self._waiter = None
                self._line.fed(self)
        value, size = self._outputs.popleft()
        self._bytes -= size
        self._line.took(self, size)
        return value

    def close(self) -> None:
        """Take no more of it. The other side is told, unless it has answered already. Safe to call twice."""
        self._line.leave(self)

    # What follows is for the line.

    @property
    def held_bytes(self) -> int:
        """All outputs together that have not been taken."""
        return self._bytes

    def is_full(self, limits: Limits) -> bool:
        """Whether it holds as many outputs as it may."""
        return len(self._outputs) >= limits.call_outputs or self._bytes >= limits.call_outputs_bytes

    def put(self, value: Json, size: int) -> None:
        """There is one more output."""
        self._outputs.append((value, size))
        self._bytes += size
        self._wake()

    def drop(self) -> int:
        """Forget what has not been taken. Returns how many bytes that were."""
        size, self._bytes = self._bytes, 0
        self._outputs.clear()
        return size

    def end(self, failure: Failure | None, *, is_late: bool = False) -> None:
        """There is no more; only with `is_late` does an end after the end count."""
        if is_late or not self._is_over:
            self._is_over, self._failure = True, failure
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
