"""A server whose provider does what the prompt says, for tests that are written in other languages."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from tests.conftest import ROOT
from tests.e2e.conftest import SCRIPTED
from tests.fakeprov import Behaviour, Connection, Exchange, Provider, behaviours
from tests.program import HANG_S, running

_AT_ONCE = {"retry-after": "120"}  # so late that the server does not wait itself


@dataclass
class World:
    """A server, and an address to ask what its provider has seen."""

    address: str
    http: str
    control: str

    @property
    def environ(self) -> dict[str, str]:
        """What tests in other languages find their way by."""
        return {"STEPWIRE_ADDRESS": self.address, "STEPWIRE_CONTROL": self.control}

    async def closed(self, prompt: str) -> None:
        """Wait until the provider's sockets are closed on which that prompt came."""
        where = urlsplit(self.control)
        async with asyncio.timeout(HANG_S):
            reader, writer = await asyncio.open_connection(where.hostname, where.port)
            writer.write(f"GET /closed/{quote(prompt)} HTTP/1.1\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
        assert b" 200 " in answer, answer


@asynccontextmanager
async def world(data_dir: Path, settings: str = SCRIPTED) -> AsyncGenerator[World]:
    """Start all of it, beside this process. In the server's settings, `{base_url}` is the provider's.

    Prompts begin with a word: `say` (what follows, a piece for each word), `stall` (`Hello`, and then nothing more),
    `silent`, `limited`, `long` (too long a context), `key` (that is invalid). Everything else is answered with `Hello`.
    `GET /asked/<prompt>` of the control address is answered once that prompt has come to the provider, and
    `/closed/<prompt>` once the sockets are closed on which it came.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.clients.words", data_dir, settings), cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), HANG_S)
        yield World(**json.loads(line))
    finally:
        process.stdin.close()  # the end of its input is its own
        await asyncio.wait_for(process.wait(), HANG_S)


async def _serve(data_dir: Path, template: str) -> None:
    """Serve until the standard input ends."""
    scripted = _Scripted()
    async with (
        scripted.provider,
        running(data_dir, template.replace("{base_url}", scripted.provider.base_url)) as program,
        await asyncio.start_server(scripted.tell, "127.0.0.1", 0) as server,
    ):
        control = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        print(json.dumps({"address": program.address, "http": program.http, "control": control}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


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


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), sys.argv[2]))
