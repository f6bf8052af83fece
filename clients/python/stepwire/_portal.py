"""A thread with an event loop in it, for callers that have none."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar, cast

from stepwire import errors

T = TypeVar("T")

CLEAN_UP_S = 5.0
"""How long an interrupted call may take to end before its caller goes on without it."""

NOTICE_S = 0.5
"""How late an interrupt is noticed at most that came just before its thread began to wait: Python sees it only when the
wait is over, which would else be the end of the call."""


class _End:
    """What an exhausted generator is read as."""


_END: Final = _End()


class Portal:
    """Makes calls in an event loop for any number of threads. The loop's thread starts with the first of them.

    It is a daemon: a program that forgets to close does not hang at its end. A call is given as a function, and made
    in the loop, so that an interrupt of the caller never leaves a coroutine that nobody awaits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event

    def run(self, make: Callable[[], Awaitable[T]]) -> T:
        """Make a call and wait for it. An interrupt of the waiting thread, such as Ctrl-C, cancels it."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("a blocking call inside the client's own event loop would wait for itself for ever")
        call = Call(make)
        try:
            self._begin(call)
            return call.wait()
        finally:
            if not call.is_over:  # an interrupt may have come at any moment of the two lines above
                call.cancel()
                # Until it has ended: what it was using, such as a generator, is about to be closed.
                call.wait_for_end(CLEAN_UP_S)

    def start(self, make: Callable[[], Awaitable[T]], on_end: Callable[[BaseException | None], None]) -> Call[T]:
        """Begin a call and return at once.

        Args:
            make: Makes it.
            on_end: Called in the loop's thread when it has ended, with what it failed with, if it did.

        Raises:
            RuntimeError: The portal is closed.
        """
        call = Call(make, on_end)
        self._begin(call)
        return call

    async def awaited(self, make: Callable[[], Awaitable[T]]) -> T:
        """Make a call and wait for it in the caller's own loop. Cancelling that cancels the call."""
        loop = asyncio.get_running_loop()
        ended = loop.create_future()

        def end() -> None:
            if not ended.done():
                ended.set_result(None)

        def tell(_: BaseException | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
                loop.call_soon_threadsafe(end)

        call = self.start(make, tell)
        try:
            await ended
        finally:
            if not call.is_over:
                call.cancel()
        return call.wait()

    def iterate(self, stream: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """Yield what an asynchronous generator yields. Leaving early closes it, before the caller goes on."""

        async def step() -> T | _End:
            return await anext(stream, _END)

        try:
            while not isinstance(item := self.run(step), _End):
                yield item
        finally:
            self._finish(stream.aclose)

    def close(self, last: Callable[[], Awaitable[None]]) -> None:
        """Make a last call, cancel what still runs, and end the thread. Does nothing the second time."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
            if was_closed or self._thread is None:
                return
            Call(last, lambda _: self._stop.set()).begin(self._loop)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _finish(self, make: Callable[[], Awaitable[None]]) -> None:
        """Wait for a clean-up where one can: a generator may be dropped in any thread, at any time."""
        if self._is_closed:
            return  # the end of the loop has closed it
        if threading.current_thread() is self._thread:
            self.start(make, lambda _: None)
        else:
            self.run(make)

    def _begin(self, call: Call[Any]) -> None:
        with self._lock:
            if self._is_closed:
                call.is_over = True
                raise RuntimeError("this client is closed")
            self._open()
            # Under the lock, so that it comes before the end of the loop or not at all.
            call.begin(self._loop)

    def _open(self) -> None:
        if self._thread is not None:
            return
        # Made here, so that nothing has to be waited for, where an interrupt would leave a thread that nobody knows.
        loop, stop = asyncio.new_event_loop(), asyncio.Event()

        def work() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(stop.wait())
            # The end of the runner has cancelled what still ran, and waited for it.

        thread = threading.Thread(target=work, name="stepwire", daemon=True)
        self._loop, self._stop, self._thread = loop, stop, thread
        thread.start()


class Call(Generic[T]):
    """A call in the portal's loop, as seen from another thread.

    It waits with a `SimpleQueue`, which is written in C. An interrupt within a `Condition`, on which events and futures
    rest, can leave its lock locked: the loop's thread would then wait for it for ever.

    Attributes:
        is_over: Whether it has ended, or can no longer begin.
    """

    def __init__(
        self, make: Callable[[], Awaitable[T]], on_end: Callable[[BaseException | None], None] | None = None
    ) -> None:
        self.is_over = False
        self._make = make
        self._on_end = on_end
        self._outcome: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[T] | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin it in its loop."""
        self._loop = loop
        loop.call_soon_threadsafe(self._begin)

    def wait(self) -> T:
        """Return what it returned, or raise what it raised. One that was cancelled raises `errors.Cancelled`."""
        outcome = None
        while outcome is None:
            with contextlib.suppress(Empty):
                outcome = self._outcome.get(timeout=NOTICE_S)
        result, failure = outcome
        if failure is not None:
            raise failure
        return cast(T, result)

    def wait_for_end(self, limit_s: float) -> None:
        """Wait until it has ended, but no longer than this."""
        with contextlib.suppress(Empty):
            self._outcome.get(timeout=limit_s)

    def cancel(self) -> None:
        """Cancel it, if it still runs, or see that it never begins."""
        if self._loop is None:
            self._cancel()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel)

    def _begin(self) -> None:
        async def main() -> T:
            return await self._make()

        assert self._loop is not None
        self._task = self._loop.create_task(main())
        self._task.add_done_callback(self._transfer)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:  # an interrupt came before it could begin
            self._end(None, errors.Cancelled("the call was cancelled", code="CANCELLED"))

    def _transfer(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self._end(None, errors.Cancelled("the call was cancelled", code="CANCELLED"))
        elif (failure := task.exception()) is not None:
            self._end(None, failure)
        else:
            self._end(task.result(), None)

    def _end(self, result: T | None, failure: BaseException | None) -> None:
        self.is_over = True
        self._outcome.put((result, failure))
        if self._on_end is not None:
            self._on_end(failure)
