"""Functions that somebody else serves, called over one stream of messages in each direction.

    line = Line(limits, wake)
    opened = line.open("shout", "hi", facts)    queues an `Asked`, which `line.unsent()` hands to whoever sends
    async for output in opened: ...             what `line.output(…)` brought, until `line.finish(…)`
    opened.close()                              an end before its time queues a `Dropped`

The other side sends the outputs of all its calls over the one stream, and the runs take them at their own pace. A call
holds few of them: then the stream is read no further until one is taken, so that the other side is slowed down. But a
call whose run waits for its next output must not wait behind one whose run takes nothing, perhaps because it waits for
the first; nor must one that cannot begin, because the other side takes no more at once. While there is such a call, the
stream is read on, and up to `Limits.stream_outputs_bytes` are held; and if then nothing at all is taken for
`Limits.stalled_reader_s`, the call that holds most of it fails.

Knows no transport: whoever has the stream feeds it in and carries away what is to be sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass

from stepwired.errors import Failure, Reason, Throttled
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps.opened import OpenCall
from stepwired.steps.remote import Facts

#: What an output takes beside its bytes.
_OUTPUT_BYTES = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """The other side is to call a function."""

    call_id: str
    function: str
    value: Json
    facts: Facts
    until_s: float | None
    """When the answer is waited for no longer, by `time.monotonic`; None: as long as the run lasts."""

    @property
    def time_left_s(self) -> float | None:
        return None if self.until_s is None else max(0.0, self.until_s - time.monotonic())


@dataclass(frozen=True, slots=True)
class Dropped:
    """A call that the other side was asked for is no longer needed."""

    call_id: str


class Line:
    """All calls over one stream.

    Args:
        limits: How much of what nobody has taken yet is held.
        wake: Is told when there is something to send.
        freed: Is told when fewer calls are open.
        is_waited_for: Whether somebody waits for a call to end, so that another may begin. Who begins to says `look`.
    """

    def __init__(
        self,
        limits: Limits,
        wake: Callable[[], None],
        freed: Callable[[], None] = lambda: None,
        is_waited_for: Callable[[], bool] = lambda: False,
    ) -> None:
        self._limits = limits
        self._wake = wake
        self._freed = freed
        self._is_waited_for = is_waited_for
        self._calls: dict[str, OpenCall] = {}
        self._unsent: dict[str, Asked | Dropped] = {}
        self._lost: Failure | None = None
        self._count = self._takes = self._bytes = 0
        self._full: set[OpenCall] = set()
        """Calls that hold as many outputs as they may."""
        self._hungry: set[OpenCall] = set()
        """Calls whose runs wait for the next output."""
        self._changed = asyncio.Event()

    @property
    def open_count(self) -> int:
        """Calls that the other side has not answered to their end."""
        return len(self._calls)

    @property
    def held_bytes(self) -> int:
        """All outputs together that nobody has taken yet."""
        return self._bytes

    def open(self, function: str, value: Json, facts: Facts) -> OpenCall:
        """Call a function of the other side. If that is lost already, the call has failed."""
        self._count += 1
        opened = OpenCall(self, str(self._count))
        if self._lost is not None:
            opened.end(self._lost.again())
            return opened
        until_s = None if facts.time_left_s is None else time.monotonic() + facts.time_left_s
        self._calls[opened.call_id] = opened
        self._unsent[opened.call_id] = Asked(opened.call_id, function, value, facts, until_s)
        self._wake()
        return opened

    async def call(self, function: str, value: Json, facts: Facts) -> AsyncGenerator[Json, None]:
        """As `open`, for who reads it to its end or closes this; see `remote.Served`."""
        opened = self.open(function, value, facts)
        try:
            async for output in opened:
                yield output
        finally:
            opened.close()

    def unsent(self) -> Asked | Dropped | None:
        """Take the next thing that has to be sent; None if there is none. What nobody needs any more is never sent."""
        if not self._unsent:
            return None
        return self._unsent.pop(next(iter(self._unsent)))

    def is_open(self, call_id: str) -> bool:
        """Whether anybody waits for answers to this call."""
        return call_id in self._calls

    def output(self, call_id: str, value: Json, size_bytes: int) -> None:
        """Take in one more output of a call; of no call, nothing."""
        if (opened := self._calls.get(call_id)) is None:
            return
        opened.was_answered = True
        size = size_bytes + _OUTPUT_BYTES
        self._bytes += size
        opened.put(value, size)
        if opened.is_full(self._limits):
            self._full.add(opened)

    def finish(self, call_id: str, failure: Failure | None = None) -> None:
        """The other side has answered a call to its end, or failed at it."""
        if (opened := self._calls.pop(call_id, None)) is not None:
            opened.was_answered = True
            opened.end(failure)
            self._freed()

    def fail(self, call_id: str, failure: Failure, *, is_sent: bool = True) -> None:
        """End a call that the other side has not answered to its end, and tell it so if it knows of it."""
        if (opened := self._calls.get(call_id)) is not None:
            opened.end(failure)
            self._drop(opened, is_sent=is_sent)

    def lose(self, failure: Failure) -> None:
        """The other side is gone: all calls fail, behind what they have, and those to come at once."""
        self._lost = failure
        self._unsent.clear()
        lost, self._calls = tuple(self._calls.values()), {}
        for opened in lost:
            opened.end(failure.again())
        self._changed.set()

    def look(self) -> None:
        """Look again whether the stream has to be read on: somebody begins to wait for a call to end."""
        self._changed.set()

    async def room(self) -> None:
        """Wait until the next message of the other side may be read."""
        loop = asyncio.get_running_loop()
        takes, since = self._takes, loop.time()
        while self._full:
            self._changed.clear()
            if not self._hungry and not self._is_waited_for():
                await self._changed.wait()
            elif self._bytes < self._limits.stream_outputs_bytes:
                return
            elif loop.time() >= since + self._limits.stalled_reader_s:
                self._relieve()
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(since + self._limits.stalled_reader_s):
                        await self._changed.wait()
            if takes != self._takes:
                takes, since = self._takes, loop.time()

    def _relieve(self) -> None:
        """Fail the call that holds most, whether or not the other side has come to its end."""
        most = max(self._full, key=lambda opened: opened.held_bytes)
        limit = self._limits.stream_outputs_bytes
        text = f"more than {limit} bytes of outputs wait on one stream, most of them of this call, and none is taken"
        facts = {"limitName": "stream_outputs_bytes", "limit": str(limit)}
        self._discard(most)
        most.end(Throttled(Reason.STEP_LIMIT_EXCEEDED, text, metadata=facts), is_late=True)
        if most.call_id in self._calls:
            self._drop(most)

    # What follows is for open calls.

    def hungers(self, opened: OpenCall) -> None:
        """The run of this call waits for an output."""
        self._hungry.add(opened)
        self._changed.set()

    def fed(self, opened: OpenCall) -> None:
        """It does no more."""
        self._hungry.discard(opened)

    def took(self, opened: OpenCall, size: int) -> None:
        """It has taken an output of so many bytes."""
        self._bytes -= size
        self._takes += 1
        if opened in self._full:
            if not opened.is_full(self._limits):
                self._full.discard(opened)
            self._changed.set()

    def leave(self, opened: OpenCall) -> None:
        """Nobody wants anything of it any more."""
        opened.end(None)
        self._discard(opened)
        if opened.call_id in self._calls:
            self._drop(opened)

    def _discard(self, opened: OpenCall) -> None:
        """Forget what a call holds."""
        self._bytes -= opened.drop()
        self._full.discard(opened)
        self._changed.set()

    def _drop(self, opened: OpenCall, *, is_sent: bool = True) -> None:
        del self._calls[opened.call_id]
        if self._unsent.pop(opened.call_id, None) is None and is_sent:
            self._unsent[opened.call_id] = Dropped(opened.call_id)
        self._wake()
        self._freed()
