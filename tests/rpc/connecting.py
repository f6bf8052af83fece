"""A bare HTTP/1.1 client for Connect and gRPC-Web, so that a test decides on every byte and on when a socket closes."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import unquote

import grpc
import uvicorn
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from stepwired.rpc.server import Server
from tests.rpc.serving import Told, until, within

PROTOCOLS = ("connect json", "connect proto", "grpc-web proto", "grpc-web json")
CODES = {code.name.lower(): code for code in grpc.StatusCode} | {"canceled": grpc.StatusCode.CANCELLED}
NUMBERS = {str(code.value[0]): code for code in grpc.StatusCode}


@asynccontextmanager
async def listening(server: Server, **settings: Any) -> AsyncIterator[int]:
    """Serve Connect on a port of its own, behind the HTTP server that the front uses."""
    config = uvicorn.Config(
        cast("Any", server.connect()), lifespan="off", log_config=None, timeout_graceful_shutdown=1, **settings
    )
    config.load()
    http = uvicorn.Server(config)
    http.lifespan = config.lifespan_class(config)
    # With its protocol, or asyncio takes it for none that delays small packets.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        await http.startup([listener])
        try:
            yield listener.getsockname()[1]
        finally:
            # Not its own `shutdown`, which sleeps.
            await until(lambda: not http.server_state.connections and not http.server_state.tasks)
            for server_ in http.servers:
                server_.close()
                await server_.wait_closed()


@dataclass
class Reply:
    """What came back, read as it comes."""

    status: int
    headers: dict[str, str]
    _reader: asyncio.StreamReader
    _left: bytearray = field(default_factory=bytearray)
    _is_whole: bool = False

    async def chunk(self) -> bytes:
        """The next part of the body; empty at its end."""
        if self._is_whole:
            return b""
        if "content-length" in self.headers:
            self._is_whole = True
            return await self._reader.readexactly(int(self.headers["content-length"]))
        size = int(await self._reader.readuntil(b"\r\n"), 16)
        data = await self._reader.readexactly(size)
        await self._reader.readexactly(2)
        self._is_whole = not size
        return data

    async def body(self) -> bytes:
        while data := await self.chunk():
            self._left += data
        return bytes(self._left)

    async def frame(self) -> tuple[int, bytes] | None:
        """The next message and its flags; None at the end."""
        while len(self._left) < 5 or len(self._left) < 5 + int.from_bytes(self._left[1:5]):
            if not (data := await self.chunk()):
                assert not self._left, "cut off"
                return None
            self._left += data
        size = int.from_bytes(self._left[1:5])
        flags, data = self._left[0], bytes(self._left[5 : 5 + size])
        del self._left[: 5 + size]
        return flags, data


class Refused(Exception):
    def __init__(self, told: Told) -> None:
        super().__init__(f"{told.code} {told.message}")
        self.told = told


@dataclass
class Ended:
    """How a call ended well."""

    trailers: dict[str, str | bytes]
    headers: dict[str, str]


class Http:
    """One connection.

    Args:
        protocol: One of `PROTOCOLS`.
        reader: Of its socket.
        writer: Of its socket.
    """

    def __init__(self, protocol: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.family, self.form = protocol.split()
        self.reader, self.writer = reader, writer

    def content_type(self, *, is_unary: bool) -> str:
        if self.family == "grpc-web":
            return f"application/grpc-web+{self.form}"
        return f"application/{'' if is_unary else 'connect+'}{self.form}"

    def packed(self, message: Message, *, is_unary: bool = False) -> bytes:
        raw = json_format.MessageToJson(message).encode() if self.form == "json" else message.SerializeToString()
        return raw if is_unary and self.family == "connect" else framed(raw)

    def begin(self, method: str, *, is_unary: bool = False, size: int | None = None, **headers: str) -> None:
        """Send the head of a request; `size` of its body, or the body is sent in chunks."""
        given = {"host": "localhost", "content-type": self.content_type(is_unary=is_unary)}
        given |= {key.replace("_", "-"): value for key, value in headers.items()}
        given |= {"transfer-encoding": "chunked"} if size is None else {"content-length": str(size)}
        lines = [f"POST /stepwire.v1.{method} HTTP/1.1", *(f"{key}: {value}" for key, value in given.items())]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def chunk(self, data: bytes) -> None:
        self.writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def send(self, message: Message) -> None:
        self.chunk(self.packed(message))

    def end(self) -> None:
        self.chunk(b"")

    def post(self, method: str, request: Message | bytes, *, is_unary: bool = False, **headers: str) -> None:
        body = request if isinstance(request, bytes) else self.packed(request, is_unary=is_unary)
        self.begin(method, is_unary=is_unary, size=len(body), **headers)
        self.writer.write(body)

    async def reply(self) -> Reply:
        head = (await within(self.reader.readuntil(b"\r\n\r\n"))).decode("latin-1").split("\r\n")
        headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in head[1:] if line)}
        return Reply(int(head[0].split()[1]), headers, self.reader)

    async def unary(self, method: str, request: Message | bytes, kind: type[Message], **headers: str) -> Any:
        """One call: its reply, and how it ended.

        Raises:
            Refused: It failed.
        """
        self.post(method, request, is_unary=True, **headers)
        return await self.single(kind)

    async def single(self, kind: type[Message]) -> Any:
        """Read what answers once, and how it ended.

        Raises:
            Refused: It failed.
        """
        if self.family == "grpc-web":
            messages, ended = await self.all(kind)
            return messages[0], ended
        reply = await self.reply()
        body = await within(reply.body())
        trailers = {k.removeprefix("trailer-"): v for k, v in reply.headers.items() if k.startswith("trailer-")}
        if reply.status != 200:
            raise Refused(connect_told(json.loads(body), trailers))
        assert reply.headers["content-type"] == self.content_type(is_unary=True)
        return self.parsed(body, kind), Ended(dict(trailers), reply.headers)

    async def all(self, kind: type[Message]) -> tuple[list[Any], Ended]:
        """Read a stream to its end.

        Raises:
            Refused: It failed.
        """
        reply = await self.reply()
        ended: list[Ended] = []
        messages = [message async for message in self.messages(reply, kind, ended)]
        return messages, ended[0]

    async def messages(self, reply: Reply, kind: type[Message], ended: list[Ended]) -> AsyncGenerator[Any, None]:
        assert reply.status == 200
        if reply.headers.get("grpc-status", "0") != "0":
            raise Refused(grpc_told(reply.headers))
        while (frame := await within(reply.frame())) is not None:
            flags, data = frame
            if flags == 0:
                yield self.parsed(data, kind)
            elif self.family == "connect":
                assert flags == 2
                end = json.loads(data)
                trailers = {key: value[0] for key, value in end.get("metadata", {}).items()}
                if "error" in end:
                    assert await within(reply.frame()) is None
                    raise Refused(connect_told(end["error"], trailers))
                ended.append(Ended(dict(trailers), reply.headers))
            else:
                assert flags == 0x80
                lines = (line.partition(": ") for line in data.decode().split("\r\n") if line)
                trailers = {key: value for key, _, value in lines}
                if trailers["grpc-status"] != "0":
                    assert await within(reply.frame()) is None
                    raise Refused(grpc_told(trailers))
                ended.append(
                    Ended({key: value for key, value in trailers.items() if key != "grpc-status"}, reply.headers)
                )

    def parsed(self, raw: bytes, kind: type[Message]) -> Message:
        return json_format.Parse(raw, kind()) if self.form == "json" else kind.FromString(raw)

    def hang_up(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def connection(port: int, protocol: str = PROTOCOLS[0], **options: Any) -> AsyncIterator[Http]:
    address = () if "sock" in options else ("127.0.0.1", port)
    reader, writer = await asyncio.open_connection(*address, **options)
    try:
        yield Http(protocol, reader, writer)
    finally:
        writer.transport.abort()


def framed(raw: bytes, flags: int = 0) -> bytes:
    return bytes([flags]) + len(raw).to_bytes(4) + raw


def connect_told(error: Mapping[str, Any], trailers: Mapping[str, str]) -> Told:
    details = [(each["type"], base64.b64decode(each["value"] + "==")) for each in error.get("details", ())]
    it = Told(CODES[error["code"]], error["message"], trailers=dict(trailers))
    _tell(it, details)
    for (name, raw), each in zip(details, error.get("details", ()), strict=True):
        kind = cast("type[Message]", getattr(error_details_pb2, name.rpartition(".")[2]))
        assert json_format.ParseDict(each["debug"], kind()) == kind.FromString(raw)
    return it


def grpc_told(trailers: Mapping[str, str]) -> Told:
    plain = {key: value for key, value in trailers.items() if key in {"x-request-id", "grpc-retry-pushback-ms"}}
    it = Told(NUMBERS[trailers["grpc-status"]], unquote(trailers.get("grpc-message", "")), trailers=dict(plain))
    if raw := trailers.get("grpc-status-details-bin"):
        status = status_pb2.Status.FromString(base64.b64decode(raw + "=="))
        assert (status.code, status.message) == (it.code.value[0], it.message)
        _tell(it, [(detail.type_url.rpartition("/")[2], detail.value) for detail in status.details])
    return it


def _tell(it: Told, details: Iterable[tuple[str, bytes]]) -> None:
    for full_name, value in details:
        name = full_name.rpartition(".")[2]
        it.kinds.append(name)
        read: Any = cast("type[Message]", getattr(error_details_pb2, name)).FromString(value)
        match name:
            case "ErrorInfo":
                it.reason, it.facts = read.reason, dict(read.metadata)
            case "RequestInfo":
                it.request_id = read.request_id
            case "RetryInfo":
                it.retry_after_s = read.retry_delay.ToNanoseconds() / 1e9
            case "BadRequest":
                it.fields = [(violation.field, violation.reason) for violation in read.field_violations]
