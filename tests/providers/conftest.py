"""A wire to a scripted provider, what came of asking it, and a clock that tests may put forward."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import httpcore
import pytest

from stepwired.errors import Failure
from stepwired.events import Batch, ChatRequest, Event, Message, TextDelta
from stepwired.providers.base import Budget, Endpoint, static
from stepwired.providers.net.http import Http
from stepwired.providers.wires.openai.wire import OpenAI
from stepwired.providers.wires.wire import ChatWire
from tests.fakeprov import behaviours
from tests.providers.fetching import Canary

KEY = "sk-test-0123456789"
REQUEST = ChatRequest("gpt-x", messages=(Message(text="hi"),))


@dataclass
class Outcome:
    """What a reader of one reply got."""

    events: list[Event] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    failure: Failure | None = None

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))


async def ask(wire: ChatWire, request: ChatRequest = REQUEST) -> Outcome:
    outcome = Outcome()
    try:
        async with aclosing(wire.chat(request)) as batches:
            async for batch in batches:
                outcome.batches.append(batch)
                outcome.events += batch
    except Failure as failure:
        outcome.failure = failure
    return outcome


@pytest.fixture
async def http() -> AsyncGenerator[Http]:
    http = Http()
    yield http
    await http.aclose()


class Clock:
    """The loop's clock, which a test puts forward instead of waiting."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._time = loop.time
        self._ahead_s = 0.0

    def time(self) -> float:
        return self._time() + self._ahead_s

    async def pass_by(self, time_s: float) -> None:
        """Let all happen that happens within this time."""
        self._ahead_s += time_s
        await behaviours.turns()


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    loop = asyncio.get_running_loop()
    clock = Clock(loop)
    monkeypatch.setattr(loop, "time", clock.time)
    return clock


Wire = Callable[..., OpenAI]


@pytest.fixture
def wire(http: Http) -> Wire:
    """Makes a wire to a base URL; further arguments are the budget's."""

    def make(base_url: str, **budget: float) -> OpenAI:
        return OpenAI(Endpoint("acme", static(base_url, KEY), budget=Budget(**budget)), http)  # type: ignore[arg-type]

    return make


@pytest.fixture
async def canary(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Canary]:
    """Listens on every address of this machine, and sees every try to connect to any other."""

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.accepts += 1
        writer.close()

    connect = httpcore.AnyIOBackend.connect_tcp

    async def watch(self: Any, host: str, *arguments: Any, **options: Any) -> Any:
        seen.attempts.append(host)
        return await connect(self, host, *arguments, **options)

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", watch)
    async with await asyncio.start_server(accept, "0.0.0.0", 0) as server:
        seen = Canary(server.sockets[0].getsockname()[1])
        with socket.socket(socket.AF_INET6) as six:
            six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            six.bind(("::", seen.port))
            async with await asyncio.start_server(accept, sock=six):
                yield seen
