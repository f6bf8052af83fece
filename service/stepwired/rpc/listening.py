"""Reads what a caller sends while it is being answered, and tells the end of it from a cancel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Generic, Self, TypeVar

from stepwired.steps.ahead import End

T = TypeVar("T")

#: How long the end of a stream may still turn out to be a cancel, and in how many looks.
DOUBT_S = 0.03
_LOOKS = 6


async def doubt(doubt_s: float = DOUBT_S) -> None:
    """Wait until the end of a request stream can be believed. To be called where a cancel of the call ends this.

    gRPC ends the stream of a caller who cancelled just like one that is whole, and cancels the call only afterwards:
    the worst of 400 that were measured, 7 ms and 1,100 turns of the loop later. Several waits, because a busy machine
    may let a single one pass without having looked at what came.
    """
    for _ in range(_LOOKS):
        await asyncio.sleep(doubt_s / _LOOKS)


class Listening(Generic[T]):
    """The messages of a request stream, read in a task of its own, one ahead of whoever iterates over this.

    Who answers meanwhile has to be able to stop waiting for a message: cancelling a wait here costs nothing. To cancel
    gRPC's own read loses memory with each call, so that nobody does: it ends by itself, soon after the call.

    Args:
        messages: The request stream.
        doubt_s: How long its end is kept back, so that it is not told while the call is being cancelled.
    """

    def __init__(self, messages: AsyncIterator[T], doubt_s: float = DOUBT_S) -> None:
        self._messages = messages
        self._doubt_s = doubt_s
        self._entries: asyncio.Queue[T | End] = asyncio.Queue()
        self._room = asyncio.Event()
        self._left = asyncio.Event()
        self.awaited: object = object()
        """Stands for the first message while the caller has to send it; None once it has come."""

    async def listen(self) -> None:
        """Read until the stream ends or nobody wants it any more. To be run as a task, which is never cancelled."""
        try:
            while not self._left.is_set():  # once the call is over, gRPC must not be asked for more
                message = await anext(self._messages)
                self.awaited = None
                self._entries.put_nowait(message)
                self._room.clear()
                if not self._left.is_set():
                    await self._room.wait()
        except StopAsyncIteration:
            self.awaited = None
            await self._doubt()
            self._entries.put_nowait(End())
        except Exception as error:  # noqa: BLE001  raised where the messages are taken
            self._entries.put_nowait(End(error))
        finally:
            self.awaited = None

    async def _doubt(self) -> None:
        """As `doubt`, in a task that nobody cancels: the end of the call ends it."""
        for _ in range(_LOOKS):
            with suppress(TimeoutError):
                async with asyncio.timeout(self._doubt_s / _LOOKS):
                    await self._left.wait()

    def leave(self) -> None:
        """Take no further messages. The one that gRPC is waiting for comes to nothing."""
        self._left.set()
        self._room.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        entry = await self._entries.get()
        if isinstance(entry, End):
            self._entries.put_nowait(entry)  # who asks again finds the end again
            raise entry.error or StopAsyncIteration
        self._room.set()
        return entry
