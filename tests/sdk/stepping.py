"""The real server without models, for tests of steps: all that they need runs in its own process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import IO, Any

from stepwire import steps

HANG_S = 60.0

ALONE = "[local]\nenabled = false\n"


@contextmanager
def program(source: str, *arguments: str) -> Generator[tuple[subprocess.Popen[str], IO[str]]]:
    """Run a program in Python, and read what it prints. One that has not ended by itself is killed."""
    with subprocess.Popen(
        [sys.executable, "-u", "-W", "error", "-c", textwrap.dedent(source), *arguments],
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        try:
            yield child, child.stdout
        finally:
            child.kill()


class Heard:
    """Writes down which callback was called, and notices if two overlap."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.done = threading.Event()
        self._busy = threading.Lock()

    def note(self, what: Any) -> None:
        assert self._busy.acquire(blocking=False), "two callbacks at once"
        self.log.append(what)
        self._busy.release()

    def end(self) -> None:
        self.note("done")
        self.done.set()


def refuse_two(x: int) -> int:
    if x == 2:
        raise ValueError("no two")
    return x


async def slowly_to(x: int) -> AsyncGenerator[int]:
    for number in range(1, x + 1):
        await asyncio.sleep(0)
        yield number


def watched(step: Any, log: list[Any]) -> steps.Flow:
    """Write down all that is told of a step."""
    return steps.with_events(
        step,
        on_start=lambda value: log.append(("start", value)),
        on_result=lambda value: log.append(("result", value)),
        on_complete=lambda: log.append("complete"),
        on_error=lambda error: log.append(("error", error.message)),
    )
