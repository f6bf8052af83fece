"""Turns a handler that pushes its replies into a generator that is pulled, without a task between the two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, Final

import grpc.aio

_PAUSE: Final = object()
_PAUSED: Final = "paused"


class Outlet:
    """Where a handler puts its replies, one at a time: `put` returns when the reader has taken the one before.

    The handler runs in the task of whoever pulls: cancelling that task cancels the handler, the loop is not asked
    for a turn between the two, and `asyncio.current_task` is the same for both.
    """

    def __init__(self) -> None:
        self._reply = b""

    async def put(self, reply: bytes) -> None:
        self._reply = reply
        await _Pause()

    async def drawn(self, handler: Coroutine[Any, Any, None]) -> AsyncGenerator[bytes, None]:
        """Run `handler` from one reply to the next. Whoever closes this generator ends the handler.

        Raises:
            Exception: What the handler raises.
        """
        run = _Run(handler)
        try:
            while await run is _PAUSED:
                yield self._reply
        finally:
            await run.abandon()


class _Pause:
    def __await__(self) -> Generator[Any, None, None]:
        yield _PAUSE


class _Run(Generator[Any, Any, Any]):
    """A coroutine that is driven from one pause to the next. What else it waits for, the task that drives waits for.

    Each `await` of it ends with `_PAUSED`, or with None when the work is done.
    """

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._has_ended = False

    def __await__(self) -> Generator[Any, Any, Any]:
        return self

    def send(self, _: object) -> Any:
        error, self._error = self._error, None
        return self._until_pause(self._work.throw if error else self._work.send, error)

    def throw(self, *error: Any) -> Any:
        """Raise in the work what is raised where it waits."""
        return self._until_pause(self._work.throw, *error)

    def close(self) -> None:
        self._work.close()

    def _until_pause(self, resume: Callable[..., Any], *how: Any) -> Any:
        self._has_ended = True  # unless it waits for something
        awaited = resume(*how)
        self._has_ended = False
        if awaited is _PAUSE:
            raise StopIteration(_PAUSED)
        return awaited

    async def abandon(self) -> None:
        """End the work where it put its last reply, unless it has ended: the reader is gone."""
        if self._has_ended:
            return
        task = asyncio.current_task()
        is_cancelled = task is not None and task.cancelling()
        # What gRPC raises where a handler writes to a connection that broke.
        self._error = asyncio.CancelledError() if is_cancelled else grpc.aio.InternalError("the reader is gone")
        while await self is _PAUSED:
            self._error = grpc.aio.InternalError("the reader is gone")
