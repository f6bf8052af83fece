"""Runs functions that block in threads, which nobody ever has to wait for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    """At most so many threads at once, one for each call.

    Neither asyncio's own pool nor `concurrent.futures` will do: a thread cannot be stopped, and both wait at the end
    of the program for the last one, however long it takes. These are daemons: what blocks for ever holds up nobody but
    the callers behind it.

    Args:
        max_threads: Calls beyond them wait. One that was cancelled counts until its function returns.
    """

    def __init__(self, max_threads: int) -> None:
        self._room = asyncio.Semaphore(max_threads)

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run `function` in a thread. When cancelled, return at once; the function runs on and its result is dropped.

        Raises:
            Exception: Whatever the function raises; a StopIteration as RuntimeError, as generators do (PEP 479).
        """
        await self._room.acquire()
        loop = asyncio.get_running_loop()
        returned: asyncio.Future[T] = loop.create_future()

        def finish(tell: Callable[[], None]) -> None:
            self._room.release()
            if not returned.cancelled():
                tell()

        def run() -> None:
            try:
                tell = partial(returned.set_result, function(*arguments))
            except StopIteration:  # a future refuses it, and whoever waits would wait for ever
                tell = partial(returned.set_exception, RuntimeError("the function raised StopIteration"))
            except BaseException as error:  # noqa: BLE001  raised again where it is waited for
                tell = partial(returned.set_exception, error)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(finish, tell)

        try:
            threading.Thread(target=run, name=f"step {getattr(function, '__name__', '')}", daemon=True).start()
        except RuntimeError:  # the machine has no thread left
            self._room.release()
            raise
        return await returned
