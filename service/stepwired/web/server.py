"""The HTTP server: what it serves, where it listens, and how it ends."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from stepwired import addresses
from stepwired.events import Chat, Embed, Metrics
from stepwired.limits import KIB, MIB, Limits
from stepwired.web.bounds import Bounds
from stepwired.web.chat import ChatCompletions
from stepwired.web.embeddings import EmbeddingList
from stepwired.web.exchange import Exchange, Places
from stepwired.web.files import page
from stepwired.web.front import Door, Front, Path
from stepwired.web.models import PREFIX, ModelList, Models, OneModel
from stepwired.web.origins import Hosts, Origins
from stepwired.web.protocol import Connection
from stepwired.web.status import Refused

#: The variable that chooses the port.
PORT = "STEPWIRE_HTTP_PORT"

#: What the kernel holds of an answer that is not read. By itself it would take megabytes for each.
_SEND_BUFFER_BYTES = 128 * KIB

_BACKLOG = 1024

#: How long the last answers may take to leave once the server has ended.
_FAREWELL_S = 1.0


class Server(Protocol):
    """The server that other fronts of the service stand in."""

    @property
    def places(self) -> Places:
        """The places for calls."""

    @property
    def is_draining(self) -> bool:
        """Whether it is shutting down."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the front serves with."""

    chat: Chat
    embed: Embed
    models: Models
    server: Server
    """Whose calls these are beside."""
    beside: Mapping[str, ASGIApp] = field(default_factory=dict)
    """What others serve, by the beginning of its paths."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator can decide."""

    allow_origins: Collection[str] = ()
    allowed_hosts: Collection[str] = ()
    page: bool = True
    body_bytes: int = 32 * MIB
    bounds: Bounds = field(default_factory=Bounds)


class WebServer:
    """One HTTP server.

    Args:
        parts: What does the work.
        settings: What the operator decided.
        limits: What calls may use.
        metrics: Is told of each call that ended.
    """

    def __init__(self, parts: Parts, settings: Settings, limits: Limits, metrics: Metrics) -> None:
        self._origins = Origins(settings.allow_origins)
        door = Door(Hosts(settings.allowed_hosts), self._origins, parts.server.places, metrics, limits.stalled_reader_s)
        self._config = Config(
            _front(parts, settings, limits, door),
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=int(settings.bounds.idle_s),
        )
        self._bounds = settings.bounds
        self._state = ServerState()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen on `host` and serve.

        Args:
            host: A loopback address or name.
            port: 0 for any that is free.

        Returns:
            The port.

        Raises:
            CannotListen: The address is not of this machine's loopback, or taken.
        """
        addresses.check_free(host, port, PORT)
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: Connection(self._config, self._state, loop, self._bounds, self._origins),
                host,
                port,
                backlog=_BACKLOG,
            )
        except OSError:  # somebody else was quicker
            raise addresses.taken(host, port, PORT) from None
        for each in self._server.sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Take no further connections, let the last answers leave, and end."""
        if self._server is None:
            return
        self._server.close()
        for connection in tuple(self._state.connections):
            connection.shutdown()
        if tasks := set(self._state.tasks):
            await asyncio.wait(tasks, timeout=_FAREWELL_S)
        connections: tuple[Any, ...] = tuple(self._state.connections)
        for connection in connections:
            if connection.transport is not None:
                connection.transport.abort()
        if tasks := set(self._state.tasks):
            await asyncio.wait(tasks)


def _front(parts: Parts, settings: Settings, limits: Limits, door: Door) -> Front:
    since = int(time.time())

    async def health(exchange: Exchange) -> None:
        if parts.server.is_draining:
            raise Refused(503, "server_draining", "the server is shutting down", retry_after_s=1)
        await exchange.answer(200, b'{"status":"ok"}')

    chat = ChatCompletions(parts.chat, limits, settings.body_bytes)
    embeddings = EmbeddingList(parts.embed, parts.models, limits, settings.body_bytes)
    paths = {
        "/v1/chat/completions": Path("/v1/chat/completions", door, post=chat),
        "/v1/embeddings": Path("/v1/embeddings", door, post=embeddings),
        "/v1/models": Path("/v1/models", door, get=ModelList(parts.models, since)),
        PREFIX: Path("/v1/models/{id}", door, get=OneModel(parts.models, since)),
        "/healthz": Path("/healthz", door, get=health),
    }
    served = {path: Path("/", door, get=file) for path, file in page().items()} if settings.page else {}
    return Front(door, {**paths, **served}, parts.beside)
