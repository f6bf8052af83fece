"""Reads what callers send: bodies, their messages, and the news that a caller is gone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Protocol, Self

from connectrpc.errors import ConnectError

from stepwired.errors import Failure
from stepwired.limits import MIB
from stepwired.rpc.bodies import Share
from stepwired.rpc.places import Places
from stepwired.rpc.stall import unsent
from stepwired.steps.ahead import End

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

#: What is read ahead of a stream where there is room: more than its messages need, since a caller who hangs up is
#: noticed at once only where all that was sent before is read.
_AHEAD_BYTES = 1 * MIB

#: How often it is looked whether a caller is gone of whom nothing is read just now.
_LOOK_S = 0.1


class Held(Protocol):
    """What a request takes while it is read."""

    def drop(self) -> None:
        """Take note that it has been read."""


class Wire(Protocol):
    """The connection that a request came over."""

    waits_for_body: bool
    on_hang_up: Callable[[], None] | None

    def is_deserted(self) -> bool:
        """Whether the peer is gone, also where what it sent before that waits unread."""


class Body:
    """The body of a request that is read while it is answered, and ahead of that.

    Args:
        receive: The server's.
        share: Counts what is taken of it.
        ahead: Counts what is read ahead.
        wire: What it comes over, if that can be asked.
    """

    def __init__(self, receive: Receive, share: Share, ahead: Share, wire: Wire | None) -> None:
        self._receive = receive
        self._share = share
        self._ahead = ahead
        self._wire = wire
        self._came: deque[Event] = deque()
        self._waiting_bytes = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    async def read(self, gone: Callable[[], None]) -> None:
        """Read until the caller hangs up, and call `gone` then. To be run as a task, and cancelled with the call."""
        while True:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                gone()
                return
            self._came.append(event)
            self._waiting_bytes += len(event.get("body", b""))
            self._news.set()
            if self._waiting_bytes > _AHEAD_BYTES or not self._ahead.spares(self._waiting_bytes):
                self._room.clear()
                await self._pause(gone)

    async def _pause(self, gone: Callable[[], None]) -> None:
        """Wait until there is room. The connection is not read meanwhile, and its end not told."""
        while not self._room.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._room.wait()
                    return
            if self._wire is not None and self._wire.is_deserted():
                gone()

    async def __call__(self) -> Event:
        """Take the next part. After the last one, nothing comes: who hangs up is told of by `gone` alone.

        Raises:
            Throttled: CONCURRENCY_LIMITED, there is no room for it.
        """
        while not self._came:
            self._news.clear()
            await self._news.wait()
        event = self._came.popleft()
        size = len(event.get("body", b""))
        self._waiting_bytes -= size
        self._ahead.spares(self._waiting_bytes)
        self._room.set()
        self._share.add(size)
        return event


class Patient:
    """A body that has to come: whoever sends nothing of it for `limit_s` is refused, and all are when the server ends.

    One of `places` until it is dropped, although it takes none: no call has begun.
    """

    has_place = False
    is_endless = True
    """Not waited for: a call that begins after the server began to end is refused."""

    is_serving = False

    def __init__(self, receive: Receive, share: Share, limit_s: float, places: Places) -> None:
        self._receive = receive
        self._share = share
        self._limit_s = limit_s
        self._places = places
        self._has_ended = False
        self._ended_by: Failure | None = None
        self._patience: asyncio.Timeout | None = None
        places.enter(self)

    def end(self, failure: Failure) -> None:
        """Have it fail unless it is whole. The first to ask wins."""
        self._ended_by = self._ended_by or failure
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(asyncio.get_running_loop().time())

    def drop(self) -> None:
        """Take note that it has been read, or is not wanted any more."""
        self._share.drop()
        self._places.leave(self)

    async def __call__(self) -> Event:
        if self._has_ended:
            return await self._receive()
        if self._ended_by is not None:
            raise self._ended_by
        try:
            async with asyncio.timeout(self._limit_s) as self._patience:
                event = await self._receive()
        except TimeoutError:
            raise self._why() from None
        finally:
            self._patience = None
        self._has_ended = not event.get("more_body", False)
        self._share.add(len(event.get("body", b"")))
        return event

    def _why(self) -> Failure:
        return self._ended_by or unsent(self._limit_s)


class Unread:
    """An empty body in place of one that nobody wants, because the call is refused whatever it says."""

    def __init__(self, receive: Receive, empty: bytes) -> None:
        self._receive = receive
        self._empty: bytes | None = empty

    async def __call__(self) -> Event:
        empty, self._empty = self._empty, None
        return await self._receive() if empty is None else {"type": "http.request", "body": empty, "more_body": False}


class Decoded:
    """The messages of a request stream.

    Args:
        raw: As the library has them.
        read: Decodes one.
        failed: What to raise for what the library raises.
    """

    def __init__(
        self,
        raw: AsyncIterator[bytes],
        read: Callable[[bytes], Awaitable[Any]],
        failed: Callable[[ConnectError], Exception],
    ) -> None:
        self._raw = raw
        self._read = read
        self._failed = failed

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._read(await anext(self._raw))
        except ConnectError as error:
            raise self._failed(error) from None


class Ahead:
    """Messages, one read ahead, by a task that may be cancelled with the call.

    Whoever iterates over this is never cancelled and may wait beyond the end of the call: `leave` ends that.
    """

    def __init__(self, messages: AsyncIterator[Any]) -> None:
        self._messages = messages
        self._entries: asyncio.Queue[Any] = asyncio.Queue()
        self._room = asyncio.Event()

    async def read(self) -> None:
        """Read until the stream ends."""
        try:
            async for message in self._messages:
                self._entries.put_nowait(message)
                self._room.clear()
                await self._room.wait()
        except Exception as error:  # noqa: BLE001  raised where the messages are taken
            self._entries.put_nowait(End(error))
        else:
            self._entries.put_nowait(End())

    def leave(self) -> None:
        """End the wait of whoever iterates."""
        self._entries.put_nowait(End())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        entry = await self._entries.get()
        if isinstance(entry, End):
            self._entries.put_nowait(entry)
            raise entry.error or StopAsyncIteration
        self._room.set()
        return entry
