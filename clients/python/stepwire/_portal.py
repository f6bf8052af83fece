"""A thread with an event loop in it, for callers that have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from concurrent.futures import Future, wait
from typing import Any, Final, TypeVar

from stepwire import errors

T = TypeVar("T")

CLEAN_UP_S = 5.0
"""How long an interrupted call may take to end before its caller goes on without it."""


class _End:
    """What an exhausted generator is read as."""


_END: Final = _End()


class Portal:
    """Runs coroutines for any number of threads. The thread starts with the first of them.

    It is a daemon: a program that forgets to close does not hang at its end.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for a coroutine. An interrupt of the waiting thread, such as Ctrl-C, cancels it."""
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("a blocking call inside the client's own event loop would wait for itself for ever")
        done, task = self.start(coroutine)
        try:
            return done.result()
        finally:
            if not done.done():
                task.cancel()
                # Until it has ended: what it was using, such as a generator, is about to be closed.
                wait([done], CLEAN_UP_S)

    def start(self, coroutine: Coroutine[Any, Any, T]) -> tuple[Future[T], _Task]:
        """Begin a coroutine and return at once.

        Returns:
            Its result, and the means to cancel it. A cancelled one results in `errors.Cancelled`.

        Raises:
            RuntimeError: The portal is closed.
        """
        done: Future[T] = Future()
        with self._lock:
            if self._is_closed:
                coroutine.close()
                raise RuntimeError("this client is closed")
            self._open()
            task = _Task(self._loop)
            # Under the lock, so that it comes before the end of the loop or not at all.
            self._loop.call_soon_threadsafe(task.begin, coroutine, done)
        return done, task

    def iterate(self, stream: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """Yield what an asynchronous generator yields. Leaving early closes it, before the caller goes on."""

        async def step() -> T | _End:
            return await anext(stream, _END)

        try:
            while not isinstance(item := self.run(step()), _End):
                yield item
        finally:
            self._finish(stream.aclose())

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `last`, cancel what still runs, and end the thread. Does nothing the second time."""
        with self._lock:
            if self._is_closed or self._thread is None:
                self._is_closed = True
                return
            self._is_closed = True
            self._loop.call_soon_threadsafe(self._stop_after, last)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _stop_after(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        ending = self._loop.create_task(last())
        ending.add_done_callback(lambda _: self._stop.set())

    def _finish(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Wait for a clean-up where one can: a generator may be dropped in any thread, at any time."""
        if self._is_closed:
            coroutine.close()
        elif threading.current_thread() is self._thread:
            self.start(coroutine)
        else:
            self.run(coroutine)

    def _open(self) -> None:
        if self._thread is not None:
            return
        ready = threading.Event()

        async def main() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            ready.set()
            await self._stop.wait()  # afterwards `asyncio.run` cancels what still runs, and waits for it

        self._thread = threading.Thread(target=lambda: asyncio.run(main()), name="stepwire", daemon=True)
        self._thread.start()
        ready.wait()


class _Task:
    """A task of the portal's loop, as seen from other threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None

    def begin(self, coroutine: Coroutine[Any, Any, T], done: Future[T]) -> None:
        self._task = self._loop.create_task(coroutine)
        self._task.add_done_callback(lambda task: _transfer(task, done))

    def cancel(self) -> None:
        """Cancel it, if it still runs."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())


def _transfer(task: asyncio.Task[T], done: Future[T]) -> None:
    if task.cancelled():
        done.set_exception(errors.Cancelled("the call was cancelled", code="CANCELLED"))
    elif (failure := task.exception()) is not None:
        done.set_exception(failure)
    else:
        done.set_result(task.result())
