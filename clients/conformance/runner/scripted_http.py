"""The scripted server's answers over Connect and gRPC-Web, through the real HTTP front: only its gate is scripted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message
from starlette.types import ASGIApp, Receive, Scope, Send

from clients.conformance.runner import wire
from clients.conformance.runner.scripted import CELL, ScriptedServer
from stepwired.limits import Limits
from stepwired.observe.metrics import NoMetrics
from stepwired.rpc.connect.app import Connect
from stepwired.rpc.places import Places
from stepwired.web.server import Parts, Settings, WebServer


class _Gate:
    """Gives Connect the scripted handlers, in the form that each kind of method has there."""

    def __init__(self, scripted: ScriptedServer) -> None:
        self._scripted = scripted

    def service(self, details: Any) -> grpc.RpcMethodHandler[Any, bytes]:
        method = wire.method(details.method.lstrip("/"))
        assert method is not None
        handler = self._scripted.service(details)
        assert handler is not None
        scripted: Any = handler.stream_stream

        async def one(requests: Any, context: Any) -> Message:
            [reply] = [raw async for raw in scripted(_packed(requests), context)]
            return wire.parse(method.output_type, reply)

        async def many(requests: Any, context: Any) -> None:
            async for raw in scripted(_packed(requests), context):
                await context.write(wire.parse(method.output_type, raw))

        make: Any = getattr(grpc, f"{_kind(method)}_rpc_method_handler")
        made: grpc.RpcMethodHandler[Any, bytes] = make(many if method.server_streaming else one, _as_it_is, _bytes)
        return made


def _kind(method: Any) -> str:
    return "_".join("stream" if streams else "unary" for streams in (method.client_streaming, method.server_streaming))


def _as_it_is(raw: bytes) -> bytes:
    return raw


async def _packed(requests: Any) -> AsyncIterator[bytes]:
    """Requests as bytes of protobuf, of which those that came as JSON have been made messages."""
    if isinstance(requests, bytes | Message):
        yield _bytes(requests)
        return
    async for request in requests:
        yield _bytes(request)


def _bytes(message: bytes | Message) -> bytes:
    return message.SerializeToString() if isinstance(message, Message) else message


class _Older:
    """Connect, but for calls whose method the script says is not there: they are for a path that nobody knows."""

    def __init__(self, connect: ASGIApp, scripted: ScriptedServer) -> None:
        self._connect = connect
        self._scripted = scripted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = {key.decode(): value.decode() for key, value in scope["headers"]}
        script = self._scripted.scripts.get(given.get(CELL, ""))
        if script is not None and script.next_answer().get("unimplemented"):
            scope = {**scope, "path": f"{scope['path']}OfTomorrow"}
        await self._connect(scope, receive, send)


@dataclass
class _Server:
    """Stands for the server that the front is a part of."""

    places: Places
    is_draining: bool = False


@asynccontextmanager
async def serving(scripted: ScriptedServer) -> AsyncGenerator[str]:
    """Run one; its address."""
    limits = Limits()
    services = {method.containing_service.full_name for method in wire.methods()}
    gate: Any = _Gate(scripted)
    places = Places(limits)
    connect: Any = Connect(gate, services, limits, places)
    none: Any = None  # chats and models of OpenAI's kind, for which nobody asks here
    beside = dict.fromkeys((f"/{name}/" for name in services), _Older(connect, scripted))
    parts = Parts(none, none, none, _Server(places), beside)
    server = WebServer(parts, Settings(page=False), limits, NoMetrics())
    port = await server.start("127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.close()
