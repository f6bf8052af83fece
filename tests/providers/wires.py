"""Wires other than OpenAI's to a scripted provider, the bodies that are recorded of them, and what all have to do."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from stepwired.errors import InvalidRequest, Reason
from stepwired.events import (
    ChatOptions,
    ChatRequest,
    Finished,
    FinishReason,
    Message,
    Role,
    Started,
    TextDelta,
    ToolResult,
    ToolUse,
)
from stepwired.providers.base import Budget, Endpoint, static
from stepwired.providers.net.http import Http
from stepwired.providers.wires.quirks import Quirks
from stepwired.providers.wires.table import WIRES
from stepwired.providers.wires.wire import ChatWire
from tests.fakeprov import Behaviour, Provider, behaviours
from tests.providers.conftest import KEY, REQUEST, ask
from tests.providers.recorded import FOLDER, shapes

CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def make(kind: str, http: Http, base_url: str, *, embed_batch: int = 2048, **budget: Any) -> ChatWire:
    """A wire of this kind to a base URL; further arguments are the budget's."""
    endpoint = Endpoint("acme", static(base_url, KEY), wire=kind, budget=Budget(**budget), embed_batch=embed_batch)
    wire = WIRES[kind](endpoint, http)
    assert isinstance(wire, ChatWire)
    return wire


def refused(kind: str, request: ChatRequest, quirks: Quirks | None = None) -> InvalidRequest | None:
    """What the wire says of a request before anything is sent."""
    endpoint = Endpoint("acme", static("http://127.0.0.1:1"), wire=kind, quirks=quirks or Quirks())
    try:
        WIRES[kind](endpoint, cast("Any", None)).check(request)
    except InvalidRequest as refusal:
        return refusal
    return None


def recorded(kind: str, name: str) -> bytes:
    """The body of a shape."""
    return (FOLDER / kind / f"{name}.txt").read_bytes()


def whole_events(body: bytes, count: int) -> bytes:
    """Its first events."""
    return b"\n\n".join(body.split(b"\n\n")[:count]) + b"\n\n"


def replied(kind: str, name: str) -> tuple[Message, ...]:
    """What comes of a shape, ready to be sent back."""
    shape = next(shape for shape in shapes() if (shape.wire, shape.name) == (kind, name))
    last = shape.read([shape.body])[0][-1]
    assert isinstance(last, Finished)
    return last.messages


def request_of(model: str, **fields: Any) -> ChatRequest:
    """A request, its options among the fields."""
    options = {name: fields.pop(name) for name in list(fields) if name in ChatOptions.__slots__}
    return ChatRequest(model, **({"messages": (Message(text="hi"),)} | fields), options=ChatOptions(**options))


def use(tool_id: str, **given: Any) -> Message:
    return Message(Role.ASSISTANT, tool_use=ToolUse(tool_id, "look", given))


def result(tool_id: str, text: str, *, is_error: bool = False) -> Message:
    return Message(Role.TOOL, tool_result=ToolResult(tool_id, text, is_error))


async def check_whole(kind: str, http: Http, behaviour: Behaviour, model: str, text: str) -> Finished:
    """Ask once: it is a whole reply, of this model and this text."""
    async with Provider(behaviour) as provider:
        outcome = await ask(make(kind, http, provider.base_url))
    assert outcome.failure is None
    first, *deltas, last = outcome.events
    assert first == Started(model, "acme")
    assert all(isinstance(delta, TextDelta) for delta in deltas)
    assert isinstance(last, Finished)
    assert (outcome.text, last.reason) == (text, FinishReason.STOP)
    return last


async def check_failure(
    kind: str, http: Http, behaviour: Behaviour, reason: Reason, text: str, budget: dict[str, Any]
) -> None:
    """Ask once: it fails so, after this text, tells no key, asks no second time, and can be asked again."""
    async with Provider(behaviour) as provider:
        outcome = await ask(make(kind, http, provider.base_url, **budget))
        assert outcome.failure is not None
        assert (outcome.failure.reason, outcome.text) == (reason, text)
        assert outcome.failure.metadata["provider"] == "acme"
        assert KEY not in f"{outcome.failure} {outcome.failure.metadata} {outcome.failure.violations}"
        assert not any(isinstance(event, Finished) for event in outcome.events)
        assert len(provider.requests) == 1
        provider.behaviour = behaviours.stream(recorded(kind, "plain"))
        assert (await ask(make(kind, http, provider.base_url))).failure is None


async def check_cancel(kind: str, http: Http) -> None:
    """Leave in the middle: the provider's connection is closed."""
    body = recorded(kind, "plain")

    async def behave(exchange: Any) -> None:
        await exchange.head(200, behaviours.STREAM)
        await exchange.chunk(whole_events(body, 4 if kind == "anthropic" else 1))
        await exchange.gone()

    async with Provider(behave) as provider:
        batches = make(kind, http, provider.base_url).chat(REQUEST)
        assert await anext(batches)
        await batches.aclose()
        await provider.closed()
        assert provider.live == 0


async def check_silent_cancel(kind: str, http: Http) -> None:
    """Leave before the provider's head is there: its connection is closed."""
    async with Provider(behaviours.silent()) as provider:
        asking = asyncio.create_task(ask(make(kind, http, provider.base_url)))
        await provider.asked.wait()
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        await provider.closed()
