"""Calls whose results are handed to functions, one at a time and in order."""

from __future__ import annotations

import asyncio
import inspect
import logging
import queue
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import aclosing
from typing import Any, Generic, Protocol, TypeVar

from stepwire import errors

T = TypeVar("T")

logger = logging.getLogger("stepwire")


class Worker:
    """One thread that runs callbacks one after the other: none overlaps another, and each may make blocking calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._todo: queue.SimpleQueue[tuple[Callable[[], object], Future[bool]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, callback: Callable[[], object]) -> Future[bool]:
        """Run `callback` after all that were submitted before. What it raises is logged, and the result False."""
        ran: Future[bool] = Future()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="stepwire-callbacks", daemon=True)
                self._thread.start()
        self._todo.put((callback, ran))
        return ran

    def close(self) -> None:
        """Run what was submitted, then end the thread."""
        if self._thread is None:
            return
        self._todo.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while (next_one := self._todo.get()) is not None:
            callback, ran = next_one
            if not ran.set_running_or_notify_cancel():
                continue
            run_callback(callback, ran)


class Turns(Protocol):
    """Runs callbacks one after the other."""

    def submit(self, callback: Callable[[], object]) -> Future[bool]:
        """Run `callback` after all that were submitted before. What it raises is logged, and the result False."""


def run_callback(callback: Callable[[], object], ran: Future[bool]) -> Future[bool]:
    """Run a callback; what it raises is logged, and the result False."""
    try:
        callback()
    except Exception:
        logger.exception("a callback raised")
        ran.set_result(False)
    else:
        ran.set_result(True)
    return ran


class _CallbackFailed(Exception):
    """A callback raised, which ends its call. It has been logged."""


class Delivery(Generic[T]):
    """Reads one call and tells its outcome: results and errors, then `on_cancel` if it was cancelled, then `on_done`.

    The last two are called exactly once each, or not at all for `on_cancel`, however cancel and end race.

    Raises:
        TypeError: One of them is a coroutine function, which nobody would await.
    """

    def __init__(
        self,
        worker: Turns,
        on_result: Callable[[T], object],
        on_error: Callable[[errors.Error], object] | None,
        on_done: Callable[[], object] | None,
        on_cancel: Callable[[], object] | None,
    ) -> None:
        given = {"on_result": on_result, "on_error": on_error, "on_done": on_done, "on_cancel": on_cancel}
        for name, callback in given.items():
            if inspect.iscoroutinefunction(callback):  # what it does would be lost
                raise TypeError(f"{name} is a coroutine function: callbacks are called, and not awaited")
        self._worker = worker
        self._on_result = on_result
        self._on_error = on_error or _ignore
        self._on_done = on_done or _ignore
        self._on_cancel = on_cancel or _ignore
        self._is_cancelled = False

    def cancel(self) -> None:
        """Begin no further `on_result` or `on_error`. Whoever calls this also cancels the task that reads."""
        self._is_cancelled = True

    async def read(self, make: Callable[[], AsyncGenerator[T, None] | Awaitable[T]]) -> None:
        """Hand over each result, waiting for its callback before the next is read."""
        source = make()
        if isinstance(source, AsyncGenerator):
            async with aclosing(source) as items:
                async for item in items:
                    await self._hand_over(item)
        else:
            await self._hand_over(await source)

    def end(self, failure: BaseException | None) -> None:
        """Tell how it ended. Not at the end of `read`, which never begins if it is cancelled soon enough."""
        if self._is_cancelled or isinstance(failure, errors.Cancelled):
            self._worker.submit(self._on_cancel)
        elif isinstance(failure, errors.Error):
            self._worker.submit(lambda: self._on_error(failure))
        elif failure is not None and not isinstance(failure, _CallbackFailed):
            logger.error("a call with callbacks could not be made", exc_info=failure)
        self._worker.submit(self._on_done)

    async def _hand_over(self, item: T) -> None:
        error = getattr(item, "error", None)  # of one item: the stream goes on

        def call() -> None:
            if self._is_cancelled:
                return
            if isinstance(error, errors.Error):
                self._on_error(error)
            else:
                self._on_result(item)

        if not await asyncio.wrap_future(self._worker.submit(call)):
            raise _CallbackFailed


def _ignore(*_: Any) -> None:
    pass
