"""Runs functions that block in threads, which nobody ever has to wait for."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import GeneratorType, TracebackType
from typing import Any, Final, TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)

END: Final = object()
"""Stands behind the last value of a generator."""


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    function: Callable[[], Any]
    name: str
    returned: asyncio.Future[Any] | None
    """Who waits for it; cancelled once nobody does. None if nobody ever did."""


class Threads:
    """At most so many threads at once, one for each call.

    Neither asyncio's own pool nor `concurrent.futures` will do: a thread cannot be stopped, and both wait at the end
    of the program for the last one, however long it takes. These are daemons: what blocks for ever holds up nobody but
    the callers behind it.

    Args:
        max_threads: Calls beyond them wait. One that was cancelled counts until its function returns.
    """

    def __init__(self, max_threads: int) -> None:
        self.free_count = max_threads
        """How many more may begin just now."""
        self._waiting: deque[_Work] = deque()

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run `function` in a thread. When cancelled, return at once; the function runs on and its result is dropped.

        Raises:
            Exception: Whatever the function raises; a StopIteration as RuntimeError, as generators do (PEP 479), and
                so what is meant for the whole program, such as SystemExit.
        """
        returned: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Work(partial(function, *arguments), _name(function), returned))
        self._begin()
        return await returned

    def leave(self, function: Callable[[], object]) -> None:
        """Run `function` in a thread as soon as there is room. Nobody waits for it; what it raises is logged."""
        self._waiting.append(_Work(function, _name(function), None))
        self._begin()

    def _begin(self) -> None:
        while self.free_count and self._waiting:
            work = self._waiting.popleft()
            if work.returned is not None and work.returned.done():
                continue
            self.free_count -= 1
            run = partial(self._run, work, asyncio.get_running_loop())
            try:
                threading.Thread(target=run, name=work.name, daemon=True).start()
            except RuntimeError as error:  # the machine has no thread left
                self.free_count += 1
                _fail(work, error)

    def _run(self, work: _Work, loop: asyncio.AbstractEventLoop) -> None:
        try:
            with contained:
                made = work.function()
            tell = partial(_succeed, work, made)
        except StopIteration:  # a future refuses it, and whoever waits would wait for ever
            tell = partial(_fail, work, RuntimeError("the function raised StopIteration"))
        except Exception as error:  # noqa: BLE001  raised again where it is waited for
            tell = partial(_fail, work, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(self._finish, work, tell)

    def _finish(self, work: _Work, tell: Callable[[], None]) -> None:
        self.free_count += 1
        if work.returned is None or not work.returned.done():
            tell()
        self._begin()


def _name(function: Callable[..., object]) -> str:
    return f"step {getattr(function, '__name__', '')}"


def _succeed(work: _Work, made: object) -> None:
    if work.returned is not None:
        work.returned.set_result(made)


def _fail(work: _Work, error: Exception) -> None:
    if work.returned is not None:
        work.returned.set_exception(error)
    else:
        _log.warning("the clean-up of a step failed with %s", type(error).__name__)


class _Contained:
    """Keeps what is meant for the whole program, such as `sys.exit()`, to the function that said it.

    For functions that wait for nothing: a CancelledError is of their own making, too. Raises RuntimeError in place of
    such an exception, with its traceback.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        if error is not None and not isinstance(error, Exception):
            raise RuntimeError(f"the function raised {type(error).__name__}").with_traceback(traceback) from error


contained: Final = _Contained()


class Drawn:
    """The values of a generator, each made in a thread; so is what it cleans up when it is left.

    Args:
        values: The generator, which nobody else uses.
        threads: Where.
    """

    def __init__(self, values: GeneratorType[T, None, None], threads: Threads) -> None:
        self._values = values
        self._threads = threads
        self._lock = threading.Lock()
        self._is_left = False

    async def next(self) -> Any:
        """Make the next value, or `END`."""
        return await self._threads.call(self._next)

    async def aclose(self) -> None:
        """Close the generator, once it is at rest. When cancelled, return at once; it is closed all the same."""
        task = asyncio.current_task()
        try:
            if not self._is_done() and task is not None and not task.cancelling():
                await self._threads.call(self._close)
        finally:
            self._is_left = True
            # One that is at work is closed behind that, in the same thread.
            if not self._is_done() and not self._lock.locked():
                self._threads.leave(self._close)

    def _is_done(self) -> bool:
        return self._values.gi_frame is None

    def _next(self) -> Any:
        try:
            with self._lock:
                return next(self._values, END)
        finally:
            if self._is_left:
                self._close()

    def _close(self) -> None:
        with self._lock:
            self._values.close()
