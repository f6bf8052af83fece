"""The driver for Python: stock grpcio with asyncio, the generated stubs, and the settings of the SDK's channel."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from stepwire import _channel
from stepwire.v1 import (
    chat_pb2,
    chat_pb2_grpc,
    conversation_pb2,
    conversation_pb2_grpc,
    embed_pb2,
    embed_pb2_grpc,
    pipeline_pb2,
    pipeline_pb2_grpc,
    step_run_pb2,
    step_run_pb2_grpc,
)

_LONGEST_LINE_BYTES = 128 * 1024 * 1024
_NO_METHOD = "the driver has no such method"
_MODULES = (
    (chat_pb2, chat_pb2_grpc),
    (conversation_pb2, conversation_pb2_grpc),
    (embed_pb2, embed_pb2_grpc),
    (pipeline_pb2, pipeline_pb2_grpc),
    (step_run_pb2, step_run_pb2_grpc),
    (health_pb2, health_pb2_grpc),
)


class Method:
    """One method of a stub."""

    def __init__(self, descriptor: Any, messages: Any, call: Callable[..., Any]) -> None:
        self.name: str = descriptor.name
        self.request = getattr(messages, descriptor.input_type.name)
        self.takes_stream: bool = descriptor.client_streaming
        self.gives_stream: bool = descriptor.server_streaming
        self.call = call


def methods(channel: grpc.aio.Channel) -> dict[str, Method]:
    """Find every method by its full name."""
    found = {}
    for messages, stubs in _MODULES:
        for service in messages.DESCRIPTOR.services_by_name.values():
            stub = getattr(stubs, f"{service.name}Stub")(channel)
            for method in service.methods:
                found[f"{service.full_name}/{method.name}"] = Method(method, messages, getattr(stub, method.name))
    return found


class Call:
    """One call, from its command to its answer."""

    def __init__(self, command: Mapping[str, Any], say: Callable[[Mapping[str, Any]], None]) -> None:
        self._id = command["id"]
        self._command = command
        self._say = say
        self._requests: asyncio.Queue[bytes | None] = asyncio.Queue()
        for request in command.get("requests", ()):
            self._requests.put_nowait(base64.b64decode(request))
        if not command.get("open"):
            self._requests.put_nowait(None)
        self._call: Any = None
        self._messages: list[Any] = []
        self._cancelled_ms: float | None = None
        self._is_cancelled_early = False

    def told(self, command: Mapping[str, Any]) -> None:
        """Take a further command."""
        if "send" in command:
            self._requests.put_nowait(base64.b64decode(command["send"]))
        elif command.get("close"):
            self._requests.put_nowait(None)
        elif command.get("cancel"):
            self._cancel()

    async def run(self, method: Method | None) -> None:
        """Make the call, and answer."""
        if method is None:
            self._answer(grpc.StatusCode.UNIMPLEMENTED, _NO_METHOD)
            return
        metadata = tuple(self._command.get("metadata", {}).items()) or None
        timeout_ms = self._command.get("timeout_ms")
        timeout_s = None if timeout_ms is None else timeout_ms / 1000
        if method.takes_stream:
            self._call = method.call(self._sent(method), metadata=metadata, timeout=timeout_s)
        else:
            request = method.request.FromString(self._requests.get_nowait())
            self._call = method.call(request, metadata=metadata, timeout=timeout_s)
        if self._is_cancelled_early:
            self._call.cancel()
        try:
            await (self._read() if method.gives_stream else self._wait())
        except asyncio.CancelledError:
            pass
        except grpc.aio.AioRpcError:
            pass  # the call itself says it
        code = await self._call.code()
        headers, trailers = await self._metadata()
        self._answer(code, await self._call.details() or "", headers, trailers, method)

    async def _wait(self) -> None:
        self._came(await self._call)

    async def _read(self) -> None:
        leave_after = self._command.get("leave_after")
        try:
            async for message in self._call:
                self._came(message)
                if leave_after is not None and len(self._messages) >= leave_after:
                    break
        finally:  # without it the server goes on generating: the stub alone ends nothing
            if not self._call.done():
                self._cancel()

    def _came(self, message: Any) -> None:
        self._messages.append(message)
        if self._command.get("progress"):
            self._say({"id": self._id, "message": _text(message.SerializeToString())})
        if len(self._messages) == self._command.get("cancel_after"):
            self._cancel()

    def _cancel(self) -> None:
        if self._cancelled_ms is None:
            self._cancelled_ms = time.time() * 1000
        if self._call is None:
            self._is_cancelled_early = True
        else:
            self._call.cancel()

    async def _sent(self, method: Method) -> AsyncGenerator[Any, None]:
        while (request := await self._requests.get()) is not None:
            yield method.request.FromString(request)

    async def _metadata(self) -> tuple[Any, Any]:
        try:
            return await self._call.initial_metadata(), await self._call.trailing_metadata()
        except (grpc.aio.AioRpcError, asyncio.CancelledError):
            return (), ()

    def _answer(
        self,
        code: grpc.StatusCode,
        message: str,
        headers: Any = (),
        trailers: Any = (),
        method: Method | None = None,
    ) -> None:
        details = next((value for key, value in trailers or () if key == "grpc-status-details-bin"), b"")
        self._say(
            {
                "id": self._id,
                "code": code.name,
                "message": message,
                "messages": []
                if self._command.get("progress")
                else [_text(message.SerializeToString()) for message in self._messages],
                "status_details": _text(details),
                "headers": _texts(headers),
                "trailers": _texts(trailers),
                "typed": _typed(method.name if method else "", self._messages, details),
                "ended_ms": time.time() * 1000,
                "cancelled_ms": self._cancelled_ms,
            }
        )


def _typed(name: str, messages: list[Any], details: bytes) -> dict[str, Any]:
    """Read what users read, as they do."""
    typed: dict[str, Any] = {}
    if name == "StreamChat":
        typed["text"] = "".join(event.text_delta.text for event in messages)
    elif name == "Chat" and messages:
        typed["text"] = messages[0].text
    elif name == "Embed" and messages and messages[0].embeddings:
        first = messages[0].embeddings[0].values
        typed |= {"dimensions": len(first), "sum": sum(first)}
    if details:
        info = error_details_pb2.ErrorInfo()
        for detail in status_pb2.Status.FromString(details).details:
            if detail.Unpack(info):
                typed["reason"] = info.reason
    return typed


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _texts(metadata: Any) -> dict[str, str]:
    return {key: value for key, value in metadata or () if isinstance(value, str)}


def _say(answer: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def main(address: str) -> None:
    """Obey commands until there are no more."""
    reader = asyncio.StreamReader(limit=_LONGEST_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    calls: dict[str, Call] = {}
    running: set[asyncio.Task[None]] = set()
    async with grpc.aio.insecure_channel(address, options=_channel.options()) as channel:
        known = methods(channel)
        while line := await reader.readline():
            command = json.loads(line)
            if "call" in command:
                call = calls[command["id"]] = Call(command, _say)
                task = asyncio.create_task(call.run(known.get(command["call"])))
                running.add(task)
                task.add_done_callback(running.discard)
            else:
                calls[command["id"]].told(command)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
