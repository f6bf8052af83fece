"""What the cases play on: the real server, a scripted provider, a scripted server, and servers that may be ended."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from clients.conformance.runner import cases, scripted, scripted_http
from clients.conformance.runner.drivers import Driver, driving
from clients.conformance.runner.languages import Language
from clients.conformance.runner.provider import Scripted
from tests.program import Program, running


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that languages share."""

    folder: Path
    provider: Scripted
    server: Program
    scripted: scripted.ScriptedServer
    scripted_http: str
    """Where the scripted server's answers are served over HTTP."""
    starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a server starts: on a busy machine, several at once would none of them be there in time."""


@asynccontextmanager
async def staging(folder: Path) -> AsyncGenerator[Stage]:
    """Start all of it."""
    provider = Scripted()
    (folder / "data").mkdir()
    async with (
        provider.provider,
        running(folder / "data", provider.settings()) as server,
        scripted.serving() as other,
        scripted_http.serving(other) as http_address,
    ):
        yield Stage(folder, provider, server, other, http_address)


class Troupe:
    """The drivers of one language, one for each server; one that broke is started anew for the next case."""

    def __init__(self, stage: Stage, name: str, language: Language, stack: AsyncExitStack) -> None:
        self.name = name
        self.stage = stage
        self._language = language
        self._stack = stack
        self._drivers: dict[str, Driver] = {}
        self._own: OwnServer | None = None

    async def driver(self, server: str) -> Driver:
        """The driver that talks to this server."""
        driver = self._drivers.get(server)
        if driver is None or driver.fault:
            address, log = await self._address(server), self.stage.folder / f"{self.name}.log"
            driver = await self._stack.enter_async_context(driving(self._language, address, log))
            self._drivers[server] = driver
        return driver

    async def own(self) -> OwnServer:
        """The server of this language alone, which cases may end; it runs, and is the same for all of them."""
        if self._own is None:
            folder = self.stage.folder / self.name
            folder.mkdir(exist_ok=True)  # of a server that could not be started
            own = OwnServer.running(self.stage, folder, is_http=self._language.is_http)
            self._own = await self._stack.enter_async_context(own)
        elif not self._own.is_running:
            await self._own.start()
        return self._own

    async def _address(self, server: str) -> str:
        stage, is_http = self.stage, self._language.is_http
        if server == cases.OWN:
            return (await self.own()).address
        if server == cases.SCRIPTED:
            return stage.scripted_http if is_http else stage.scripted.address
        return address_of(stage.server, is_http=is_http)


class OwnServer:
    """A server that can be ended and started again, at an address that stays.

    The address is that of a relay, so that nobody else can take it while the server is away.
    """

    def __init__(self, stage: Stage, folder: Path, stack: AsyncExitStack, *, is_http: bool) -> None:
        self.address = ""
        self._stage, self._folder, self._is_http = stage, folder, is_http
        self._stack = stack
        self._program: Program | None = None
        self._leaving: Program | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def running(cls, stage: Stage, folder: Path, *, is_http: bool) -> AsyncGenerator[OwnServer]:
        """Start one, at whose address is gRPC, or HTTP."""
        async with AsyncExitStack() as stack:
            own = cls(stage, folder, stack, is_http=is_http)
            await own.start()
            relay = await asyncio.start_server(own._relay, "127.0.0.1", 0)
            own.address = f"127.0.0.1:{relay.sockets[0].getsockname()[1]}"
            try:
                yield own
            finally:
                relay.close()
                for task in list(own._tasks):
                    task.cancel()
                if own._tasks:
                    await asyncio.wait(list(own._tasks))

    @property
    def is_running(self) -> bool:
        """Whether it was started, and neither killed nor drained since."""
        return self._program is not None

    async def start(self) -> None:
        """Start it, on the data that is there."""
        await self.gone()  # only one can have the data
        async with self._stage.starting:
            started = running(self._folder, self._stage.provider.settings())
            self._program = await self._stack.enter_async_context(started)

    async def kill(self) -> None:
        """End it without warning."""
        assert self._program is not None
        program, self._program = self._program, None
        await program.end(signal.SIGKILL)

    async def drain(self) -> None:
        """Ask it to end; it takes its time."""
        assert self._program is not None
        self._leaving, self._program = self._program, None
        self._leaving.process.send_signal(signal.SIGTERM)

    async def gone(self) -> None:
        """Wait until one that drains has ended."""
        if self._leaving is not None:
            await self._leaving.process.wait()
            self._leaving = None

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self._program is not None:
                await self._join(reader, writer, address_of(self._program, is_http=self._is_http))
        except (OSError, asyncio.CancelledError):  # cancelled at the end, by us: asyncio would log it
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        host, _, port = address.rpartition(":")
        to_reader, to_writer = await asyncio.open_connection(host, int(port))
        ways = {
            asyncio.create_task(_pass_on(reader, to_writer)),
            asyncio.create_task(_pass_on(to_reader, writer)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
            to_writer.transport.abort()


def address_of(program: Program, *, is_http: bool) -> str:
    """Where a server is reached over HTTP, or over gRPC."""
    return program.http.removeprefix("http://") if is_http else program.address


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        return
