"""Reads what a caller sends while it is being answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class _End:
    """Stands behind the last message, with what ended the stream if it did not come to its end."""

    __slots__ = ("error",)

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


class Listening(Generic[T]):
    """The messages of a request stream, read in a task of its own, one ahead of whoever iterates over this.

    Who answers meanwhile has to be able to stop waiting for a message: cancelling a wait here costs nothing. To cancel
    gRPC's own read loses memory with each call, so that nobody does: it ends by itself, soon after the call.
    """

    def __init__(self, messages: AsyncIterator[T]) -> None:
        self._messages = messages
        self._entries: asyncio.Queue[T | _End] = asyncio.Queue()
        self._room = asyncio.Event()
        self._has_left = False
        self.awaited: object = object()
        """Stands for the first message while the caller has to send it; None once it has come."""

    async def listen(self) -> None:
        """Read until the stream ends or nobody wants it any more. To be run as a task, which is never cancelled."""
        try:
            while not self._has_left:  # once the call is over, gRPC must not be asked for more
                message = await anext(self._messages)
                self.awaited = None
                self._entries.put_nowait(message)
                self._room.clear()
                if not self._has_left:
                    await self._room.wait()
        except StopAsyncIteration:
            self._entries.put_nowait(_End())
        except Exception as error:  # noqa: BLE001  raised where the messages are taken
            self._entries.put_nowait(_End(error))
        finally:
            self.awaited = None

    def leave(self) -> None:
        """Take no further messages. The one that gRPC is waiting for comes to nothing."""
        self._has_left = True
        self._room.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        entry = await self._entries.get()
        if isinstance(entry, _End):
            self._entries.put_nowait(entry)  # who asks again finds the end again
            raise entry.error or StopAsyncIteration
        self._room.set()
        return entry
