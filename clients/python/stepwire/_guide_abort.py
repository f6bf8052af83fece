"""Ends awaited calls in the guide's way: `stepwire.guide` has what is here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from stepwire import errors

T = TypeVar("T")


class AbortError(errors.Cancelled):
    """The call was ended by its own `AbortController`. Its `name` is `AbortError`."""

    def __init__(self) -> None:
        super().__init__("the call was aborted", code="CANCELLED")


class AbortSignal:
    """What an `AbortController` tells calls with."""

    def __init__(self) -> None:
        self._is_aborted = False
        self._calls: set[Future[None]] = set()
        """Of the calls that run; others are forgotten, as a signal may serve a whole program."""

    @property
    def aborted(self) -> bool:
        return self._is_aborted

    @contextmanager
    def _told(self) -> Generator[Future[None]]:
        """Make what ends when the signal does: one for each call, as one that is cancelled must not end the others."""
        call: Future[None] = Future()
        self._calls.add(call)
        if self._is_aborted:  # perhaps since before it was added
            self._abort()
        try:
            yield call
        finally:
            self._calls.discard(call)

    def _abort(self) -> None:
        # Without a lock, which a handler of signals would find held by its own thread: each call is popped once.
        self._is_aborted = True
        with suppress(KeyError):
            while True:
                _tell(self._calls.pop())


def _tell(call: Future[None]) -> None:
    if call.set_running_or_notify_cancel():
        call.set_result(None)


class AbortController:
    """Ends the calls that were started with its `signal`, from any thread."""

    def __init__(self) -> None:
        self.signal = AbortSignal()

    def abort(self) -> None:
        self.signal._abort()


async def unless_aborted(make: Callable[[], Awaitable[T]], options: Mapping[str, Any] | None) -> T:
    """Make a call and wait for it, unless the `signal` among its options ends it. There are no other options.

    Raises:
        AbortError: The signal ended it.
    """
    signal: AbortSignal | None = known(options or {}, {"signal"}).get("signal")
    if signal is None:
        return await make()
    if signal.aborted:
        raise AbortError
    with signal._told() as told:
        running: asyncio.Future[T] = asyncio.ensure_future(make())
        aborted = asyncio.wrap_future(told)
        both: list[asyncio.Future[Any]] = [running, aborted]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                raise AbortError
            return running.result()
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)


def known(given: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    """Refuse names that nobody asks for.

    Raises:
        TypeError: There is one.
    """
    for name in given:
        if name not in names:
            raise TypeError(f"`{name}` is no option: there are {', '.join(sorted(names))}")
    return dict(given)
