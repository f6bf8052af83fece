"""A server that does what a test tells it to, over a real socket: it can also misbehave as no real server does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.message import Message

from stepwire.v1 import chat_pb2, conversation_pb2, embed_pb2, message_pb2, step_run_pb2
from tests.sdk import defaults
from tests.sdk.refusing import Context

#: A coroutine function for a unary method or an upload, an async generator function for a streaming one.
Behaviour = Callable[[Any, Context], Awaitable[Any] | AsyncGenerator[Any, None]]

RECEIVE_BYTES = 16 * 1024 * 1024
"""As the real server."""

SERVICES = [
    service
    for module in (chat_pb2, embed_pb2, conversation_pb2, step_run_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]


class Script:
    """What each method does, by its name, and which calls came. Methods that no test has scripted behave well."""

    def __init__(self) -> None:
        self.on: dict[str, Behaviour] = defaults.behaviours()
        self.calls: list[tuple[str, Any]] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.ended = threading.Event()
        """Set when a streaming method has ended, in whatever way."""

    async def unary(self, name: str, request: Message, context: Context) -> Any:
        self._note(name, request, context)
        return await self.on[name](request, context)  # type: ignore[misc]

    async def stream(self, name: str, request: Message, context: Context) -> AsyncGenerator[Any, None]:
        self._note(name, request, context)
        try:
            async for response in self.on[name](request, context):  # type: ignore[union-attr]
                yield response
        finally:
            self.ended.set()

    async def converse(
        self, name: str, requests: AsyncIterator[Message], context: Context
    ) -> AsyncGenerator[Any, None]:
        async def noted() -> AsyncIterator[Message]:
            async for request in requests:
                self._note(name, request, context)
                yield request

        try:
            async for response in self.on[name](noted(), context):  # type: ignore[union-attr]
                yield response
        finally:
            self.ended.set()

    async def upload(self, name: str, requests: AsyncIterator[Message], context: Context) -> Any:
        async def noted() -> AsyncIterator[Message]:
            async for request in requests:
                self._note(name, request, context)
                yield request

        return await self.on[name](noted(), context)  # type: ignore[misc]

    def count(self, name: str) -> int:
        return sum(called == name for called, _ in self.calls)

    def last(self, name: str) -> Any:
        return [request for called, request in self.calls if called == name][-1]

    def _note(self, name: str, request: Message, context: Context) -> None:
        self.calls.append((name, request))
        self.metadata.append(dict(context.invocation_metadata() or ()))


class Server:
    """The address of a running server, and its script."""

    def __init__(self, port: int, script: Script) -> None:
        self.target = f"127.0.0.1:{port}"
        self.script = script
        self.on = script.on


@asynccontextmanager
async def serve(script: Script | None = None, port: int = 0) -> AsyncGenerator[Server]:
    """Run a scripted server in this event loop, on a port of its own choosing or on that of one that has ended."""
    script = script or Script()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", RECEIVE_BYTES)])
    for service in SERVICES:
        handlers = {method.name: _handler(script, method) for method in service.methods}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield Server(port, script)
    finally:
        await server.stop(0)


@contextmanager
def serve_in_thread() -> Generator[Server]:
    """Run a scripted server in an event loop of its own, for tests that block."""
    ready = threading.Event()
    running: dict[str, Any] = {}

    async def main() -> None:
        async with serve() as server:
            running.update(server=server, loop=asyncio.get_running_loop(), stop=asyncio.Event())
            ready.set()
            await running["stop"].wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(10)
    try:
        yield running["server"]
    finally:
        running["loop"].call_soon_threadsafe(running["stop"].set)
        thread.join(10)


def text(words: str) -> chat_pb2.StreamChatResponse:
    return chat_pb2.StreamChatResponse(text_delta=chat_pb2.TextDelta(text=words, delta_count=1))


def started(model: str = "scripted-1") -> chat_pb2.StreamChatResponse:
    return chat_pb2.StreamChatResponse(started=chat_pb2.ChatStarted(model=model, provider="scripted"))


def finished(reply: str) -> chat_pb2.StreamChatResponse:
    return chat_pb2.StreamChatResponse(finished=defaults.chat_finished(reply))


async def for_ever(request: Any, context: Context) -> AsyncGenerator[chat_pb2.StreamChatResponse, None]:
    """Stream a reply that has one word and no end."""
    yield started()
    yield text("once ")
    await asyncio.Event().wait()


def failure(reason: str = "STEP_INPUT_INVALID", message: str = "wants a text") -> message_pb2.Failure:
    return message_pb2.Failure(reason=reason, message=message, code=grpc.StatusCode.INVALID_ARGUMENT.value[0])


def _handler(script: Script, method: Any) -> grpc.RpcMethodHandler[Any, Any]:
    request_class = message_factory.GetMessageClass(method.input_type)
    if method.server_streaming and method.client_streaming:
        return grpc.stream_stream_rpc_method_handler(
            partial(script.converse, method.name), request_class.FromString, lambda reply: reply.SerializeToString()
        )
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(
            partial(script.stream, method.name), request_class.FromString, lambda reply: reply.SerializeToString()
        )
    if method.client_streaming:
        return grpc.stream_unary_rpc_method_handler(
            partial(script.upload, method.name), request_class.FromString, lambda reply: reply.SerializeToString()
        )
    return grpc.unary_unary_rpc_method_handler(
        partial(script.unary, method.name), request_class.FromString, lambda reply: reply.SerializeToString()
    )
