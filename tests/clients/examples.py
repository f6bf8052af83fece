"""Runs a client's example: what it prints, while it runs and when it has ended."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.e2e.conftest import Scripted
from tests.fakeprov import Exchange, behaviours
from tests.program import HANG_S


class Example:
    """An example that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def prints(self, text: str) -> None:
        """Read what it prints, which has to be this."""
        assert self.process.stdout is not None
        read = await asyncio.wait_for(self.process.stdout.readexactly(len(text.encode())), HANG_S)
        assert read.decode() == text

    async def ends(self) -> tuple[str, str]:
        """Wait for its end: what else it printed, and what it said of errors."""
        out, err = await asyncio.wait_for(self.process.communicate(), HANG_S)
        return out.decode(), err.decode()


@asynccontextmanager
async def started(*command: str | Path, stdin: int = asyncio.subprocess.DEVNULL) -> AsyncGenerator[Example]:
    """Start one; it is killed if it has not ended by then."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=stdin, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield Example(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def prints_text_as_it_comes(scripted: Scripted, command: Sequence[str | Path]) -> None:
    """The example of a chat prints each piece before the next is there."""
    go_on = asyncio.Event()

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, behaviours.STREAM)
        await exchange.chunk(behaviours.chunk("Hel"))
        await go_on.wait()
        await exchange.chunk(behaviours.chunk("lo") + behaviours.chunk(finish="stop"))
        await exchange.chunk(behaviours.usage() + behaviours.DONE)
        await exchange.end()

    scripted.behave(behave)
    async with started(*command) as example:
        await example.prints("Hel")
        go_on.set()
        assert await example.ends() == ("lo\n[fake-1, 2 tokens]\n", "")
        assert example.process.returncode == 0


async def leaves_after_a_piece(scripted: Scripted, command: Sequence[str | Path], says: str) -> None:
    """The example of a chat, told to leave after one piece of text, ends, and the provider's socket with it."""
    scripted.behave(behaviours.stalled(["Hello"]))
    async with started(*command) as example:
        assert await example.ends() == (f"Hello\n{says}\n", "")
        assert example.process.returncode == 0
    await scripted.provider.closed(1, HANG_S)


async def ends_with_ctrl_c(scripted: Scripted, command: Sequence[str | Path], status: int) -> None:
    """Ctrl-C ends the example of a chat, and the provider's socket with it."""
    scripted.behave(behaviours.stalled(["Hello"]))
    async with started(*command) as example:
        await example.prints("Hello")
        example.process.send_signal(signal.SIGINT)
        assert await example.ends() == ("\ncancelled\n", "")
        assert example.process.returncode == status
    await scripted.provider.closed(1, HANG_S)


async def tells_why_it_failed(command: Sequence[str | Path]) -> None:
    """The example of a chat, with a model that there is not, names the reason."""
    async with started(*command) as example:
        out, err = await example.ends()
        assert out == ""
        assert "there is no model 'nope'" in err
        assert "MODEL_NOT_FOUND" in err
        assert example.process.returncode == 1
