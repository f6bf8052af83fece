"""Threads for what may block for ever, such as a pipe that nobody writes to: they hold up neither a loop nor an end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")


class Hand:
    """One thread that does jobs in order. Use it in a `with`; what was given to it is done also after its end.

    A daemon, other than those of `asyncio.to_thread`: the loop and the process end without waiting for it. Who waits
    for a job and is cancelled goes on at once. So a file is closed by a job, which waits for the read that
    still blocks.
    """

    def __init__(self, name: str = "stepwire-file") -> None:
        self._name = name
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def __enter__(self) -> Self:
        threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._jobs.put(None)

    def do(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Give it a job; what it returns or raises, to be awaited."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            try:
                deliver = partial(_set_result, answer, job())
            except BaseException as error:  # noqa: BLE001  whatever it is, it is the caller's, who would wait for ever
                deliver = partial(_set_exception, answer, _carried(error))
            with suppress(RuntimeError):  # the loop is gone: nobody waits any more
                loop.call_soon_threadsafe(deliver)

        self._jobs.put(run)
        return answer

    def leave(self, job: Callable[[], None]) -> None:
        """Give it a job that nobody waits for; it must not fail."""
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


async def run(job: Callable[[], T]) -> T:
    """Do one thing in a thread of its own, and wait for it."""
    with Hand() as hand:
        return await hand.do(job)


def _carried(raised: BaseException) -> Exception:
    """What a future can carry to a task: no end of an iteration, and none of a program or a task."""
    if isinstance(raised, Exception) and not isinstance(raised, StopIteration):
        return raised
    wrapped = RuntimeError(f"it raised {type(raised).__name__}")
    wrapped.__cause__ = raised
    return wrapped


def _set_result(answer: asyncio.Future[T], result: T) -> None:
    if not answer.done():
        answer.set_result(result)


def _set_exception(answer: asyncio.Future[T], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
