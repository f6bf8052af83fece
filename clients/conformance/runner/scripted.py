"""A gRPC server that answers what a case says, so that clients meet what the real one does not send yet.

Each cell has its own answers, found by the metadata that the runner adds to its calls.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from clients.conformance.runner import wire

CELL = "x-conformance-cell"
"""Metadata: which cell makes the call."""


@dataclass
class Script:
    """What a cell is answered, and what came from it."""

    answers: Sequence[dict[str, Any]]
    """One for each call; the last for all that follow."""

    times_s: list[float] = field(default_factory=list)
    """When each call came, of `time.monotonic()`."""

    requests: list[list[bytes]] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a call has ended, however."""

    has_deadline: bool = False
    """Whether the last call brought one."""

    def next_answer(self) -> dict[str, Any]:
        """What the call is answered that comes now."""
        return self.answers[min(len(self.times_s), len(self.answers) - 1)]


class ScriptedServer(grpc.GenericRpcHandler):
    """Takes all calls, as streams of bytes: on the wire there is no other kind."""

    def __init__(self) -> None:
        self.address = ""
        self.scripts: dict[str, Script] = {}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """Find what answers a call; nothing does where the script says that the method is not there."""
        given = dict(details.invocation_metadata or ())
        script = self.scripts.get(str(given.get(CELL)))
        method = wire.method(details.method.lstrip("/"))
        if script is None or method is None:
            return None
        answer = script.next_answer()
        script.times_s.append(time.monotonic())
        script.metadata.append({key: value for key, value in given.items() if isinstance(value, str)})
        if answer.get("unimplemented"):
            return None
        kind = method.output_type

        async def handle(
            requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
        ) -> AsyncGenerator[bytes, None]:
            got: list[bytes] = []
            script.requests.append(got)
            script.has_deadline = context.time_remaining() is not None
            try:
                if answer.get("reads", True):
                    got += [request async for request in requests]
                async for message in _answered(answer, kind, context):
                    yield message
            finally:
                script.ended.set()

        return grpc.stream_stream_rpc_method_handler(handle)


async def _answered(
    answer: dict[str, Any], kind: Any, context: grpc.aio.ServicerContext[bytes, bytes]
) -> AsyncGenerator[bytes, None]:
    if headers := answer.get("headers"):
        await context.send_initial_metadata(tuple(headers.items()))
    for message in answer.get("messages", ()):
        yield wire.encode(kind, message)
    if answer.get("silent"):
        await asyncio.Event().wait()
    code = grpc.StatusCode[answer.get("code", "OK")]
    message = answer.get("message", "")
    trailers: list[tuple[str, str | bytes]] = list(answer.get("trailers", {}).items())
    if "details" in answer:
        packed = wire.pack_details(code.value[0], message, answer["details"])
        trailers.append(("grpc-status-details-bin", packed))
    context.set_trailing_metadata(tuple(trailers))
    if code is not grpc.StatusCode.OK:
        await context.abort(code, message, tuple(trailers))


@asynccontextmanager
async def serving() -> AsyncGenerator[ScriptedServer]:
    """Run one."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 16 * 1024 * 1024)])
    scripted = ScriptedServer()
    server.add_generic_rpc_handlers((scripted,))
    scripted.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield scripted
    finally:
        await server.stop(0)
