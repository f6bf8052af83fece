"""The front on a port of its own, over scripted models, and HTTP as it lies on the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp

from stepwired.events import Chat, Embed
from stepwired.limits import Limits
from stepwired.rpc.places import Places
from stepwired.web.server import Parts, Settings, WebServer
from tests.rpc.serving import SOON_S, Catalogue, Recorder, count, echo

CHAT = "/v1/chat/completions"
HI: dict[str, Any] = {"model": "echo", "messages": [{"role": "user", "content": "hi there"}]}


@dataclass
class Beside:
    """The server that the front stands beside."""

    places: Places
    is_draining: bool = False


@dataclass
class Reply:
    """One answer, as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    chunks: list[bytes] = field(default_factory=list)
    """Those of HTTP, if it came in chunks."""

    is_whole: bool = True
    """Whether its end came; False if the connection ended before."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """What the body says went wrong, once it is known to be all that it has to be."""
        error: dict[str, Any] = self.json["error"]
        assert self.headers["content-type"] == "application/json"
        assert list(error) == ["message", "type", "code", "param", "request_id"]
        assert error["request_id"] == self.headers["x-request-id"]
        assert all(error[name] for name in ("message", "type", "code"))
        return error

    @property
    def events(self) -> list[Any]:
        """The events of a stream: JSON, or `[DONE]` as it is."""
        found = []
        for block in self.body.decode("ascii").split("\n\n")[:-1]:
            if not block.startswith(":"):
                data = block.removeprefix("data: ")
                found.append(data if data == "[DONE]" else json.loads(data))
        return found

    @property
    def text(self) -> str:
        """All text of a stream."""
        return "".join(
            event["choices"][0]["delta"].get("content") or ""
            for event in self.events
            if event != "[DONE]" and event.get("choices")
        )


class Connection:
    """A socket to the front."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> None:
        """Send one request; JSON unless it is bytes."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        said = {"Host": "localhost", **({"Content-Type": "application/json"} if body is not None else {})}
        said |= headers or {}
        if body is not None:
            said.setdefault("Content-Length", str(len(raw)))
        lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
        await self.send(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + raw)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read the head of an answer."""
        raw = await self.reader.readuntil(b"\r\n\r\n")
        line, *lines = raw.decode("latin-1").split("\r\n")[:-2]
        headers = [each.partition(": ") for each in lines]
        return int(line.split()[1]), {name.lower(): value for name, _, value in headers}

    async def chunk(self) -> bytes:
        """Read one chunk; empty at the end."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def reply(self, method: str = "POST") -> Reply:
        """Read a whole answer."""
        status, headers = await self.head()
        if headers.get("transfer-encoding") != "chunked":
            size = 0 if method == "HEAD" else int(headers.get("content-length", "0"))
            return Reply(status, headers, await self.reader.readexactly(size))
        chunks = []
        try:
            while chunk := await self.chunk():
                chunks.append(chunk)
        except asyncio.IncompleteReadError:
            return Reply(status, headers, b"".join(chunks), chunks, is_whole=False)
        return Reply(status, headers, b"".join(chunks), chunks)

    async def ended(self) -> bytes:
        """Wait until the server ends the connection; what came before."""
        try:
            return await self.reader.read()
        except ConnectionResetError:
            return b""

    def pause(self) -> None:
        """Take nothing more."""
        transport: Any = self.writer.transport
        transport.pause_reading()

    def reset(self) -> None:
        """Hang up at once."""
        self.writer.transport.abort()


@dataclass
class Front:
    """The front, while it serves."""

    port: int
    places: Places
    metrics: Recorder
    beside: Beside
    server: WebServer

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**24)
        try:
            yield Connection(reader, writer)
        finally:
            writer.transport.abort()

    async def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        """One request on a connection of its own."""
        async with asyncio.timeout(SOON_S), self.connection() as connection:
            await connection.ask(method, path, body, headers)
            return await connection.reply(method)

    async def chat(self, **fields: Any) -> Reply:
        """One chat."""
        return await self.ask("POST", CHAT, HI | fields)


@asynccontextmanager
async def serve(
    chat: Chat = echo,
    embed: Embed = count,
    *,
    limits: Limits | None = None,
    settings: Settings | None = None,
    beside: Mapping[str, ASGIApp] | None = None,
) -> AsyncGenerator[Front]:
    """Run the front on a free port."""
    limits = limits or Limits()
    places, metrics = Places(limits), Recorder()
    stands = Beside(places)
    parts = Parts(chat, embed, Catalogue(), stands, beside or {})
    web = WebServer(parts, settings or Settings(page=False), limits, metrics)
    port = await web.start("127.0.0.1", 0)
    try:
        yield Front(port, places, metrics, stands, web)
    finally:
        await places.drain(0)
        await web.close()
