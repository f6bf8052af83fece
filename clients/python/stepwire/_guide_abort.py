"""Ends awaited calls in the guide's way: `stepwire.guide` has what is here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
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
        self.ended: Future[None] = Future()

    @property
    def aborted(self) -> bool:
        return self.ended.done()


class AbortController:
    """Ends the calls that were started with its `signal`, from any thread."""

    def __init__(self) -> None:
        self.signal = AbortSignal()

    def abort(self) -> None:
        with suppress(InvalidStateError):  # it was ended already, or is just being by another thread
            self.signal.ended.set_result(None)


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
    running: asyncio.Future[T] = asyncio.ensure_future(make())
    aborted = asyncio.wrap_future(_after(signal))
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


def _after(signal: AbortSignal) -> Future[None]:
    """A future of its own for each call: one that is cancelled must not end the signal."""
    own: Future[None] = Future()

    def tell(_: Future[None]) -> None:
        if own.set_running_or_notify_cancel():
            own.set_result(None)

    signal.ended.add_done_callback(tell)
    return own
