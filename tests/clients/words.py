"""A server whose provider does what the prompt says, for tests that are written in other languages."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from tests.e2e.conftest import settings
from tests.fakeprov import Behaviour, Connection, Exchange, Provider, behaviours
from tests.program import HANG_S, Program, running

_AT_ONCE = {"retry-after": "120"}  # so late that the server does not wait itself


@dataclass
class World:
    """A server, and an address to ask what its provider has seen."""

    program: Program
    control: str
    scripted: _Scripted

    @property
    def environ(self) -> dict[str, str]:
        """What tests in other languages find their way by."""
        return {"STEPWIRE_ADDRESS": self.program.address, "STEPWIRE_CONTROL": self.control}

    async def closed(self, prompt: str) -> None:
        """Wait until the provider's sockets are closed on which that prompt came."""
        async with asyncio.timeout(HANG_S):
            await self.scripted.closed(prompt)


@asynccontextmanager
async def world(data_dir: Path, more: str = "", basis: Callable[[Provider], str] = settings) -> AsyncGenerator[World]:
    """Start all of it. `more` is added to the server's settings, which `basis` makes.

    Prompts begin with a word: `say` (what follows, a piece for each word), `stall` (`Hello`, and then nothing more),
    `silent`, `limited`, `long` (too long a context), `key` (that is invalid). Everything else is answered with `Hello`.
    `GET /asked/<prompt>` of the control address is answered once that prompt has come to the provider, and
    `/closed/<prompt>` once the sockets are closed on which it came.
    """
    scripted = _Scripted()
    async with (
        scripted.provider,
        running(data_dir, basis(scripted.provider) + more) as program,
        await asyncio.start_server(scripted.tell, "127.0.0.1", 0) as server,
    ):
        port = server.sockets[0].getsockname()[1]
        yield World(program, f"http://127.0.0.1:{port}", scripted)


class _Scripted:
    """Answers by what the prompt says, and tells over HTTP what has become of it."""

    def __init__(self) -> None:
        self.provider = Provider(self._behave)
        self._seen: defaultdict[str, list[Connection]] = defaultdict(list)
        self._asked = asyncio.Condition()

    async def tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
        status = "200 OK"
        try:
            async with asyncio.timeout(HANG_S):
                _, what, prompt = unquote(path).split("/", 2)
                await (self.closed(prompt) if what == "closed" else self.asked(prompt))
        except TimeoutError:
            status = "504 Not Seen"
        head = "access-control-allow-origin: *\r\ncontent-length: 0\r\nconnection: close"
        writer.write(f"HTTP/1.1 {status}\r\n{head}\r\n\r\n".encode())
        writer.close()
        await writer.wait_closed()

    async def asked(self, prompt: str) -> None:
        """Wait until that prompt has come."""
        async with self._asked:
            await self._asked.wait_for(lambda: self._seen[prompt])

    async def closed(self, prompt: str) -> None:
        """Wait until the sockets are closed on which it came."""
        await self.asked(prompt)
        for connection in self._seen[prompt]:
            await connection.closed.wait()

    async def _behave(self, exchange: Exchange) -> None:
        if exchange.request.path.endswith("/embeddings"):
            await behaviours.embeddings()(exchange)
            return
        content = exchange.request.json()["messages"][-1]["content"]
        prompt = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        self._seen[prompt].append(exchange.connection)
        async with self._asked:
            self._asked.notify_all()
        await _behaviour(prompt)(exchange)


def _behaviour(prompt: str) -> Behaviour:
    word, _, rest = prompt.partition(" ")
    match word:
        case "say":
            return behaviours.reply([f"{each} " for each in rest.split()])
        case "stall":
            return behaviours.stalled(["Hello"])
        case "silent":
            return behaviours.silent()
        case "limited":
            return behaviours.status(429, _AT_ONCE, {"error": {"code": "rate_limit_exceeded"}})
        case "long":
            return behaviours.status(400, body={"error": {"code": "context_length_exceeded"}})
        case "key":
            return behaviours.status(401)
        case _:
            return behaviours.reply()
