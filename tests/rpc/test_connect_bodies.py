"""What is no request: JSON and protobuf that are none, too much of them, and HTTP that is no call."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from connectrpc.errors import ConnectError
from grpc import StatusCode as K

from stepwire.v1 import chat_pb2
from stepwired.limits import MIB, Limits
from stepwired.rpc.connect.body import Format, Gzip
from tests.rpc.connecting import PROTOCOLS, Http, Refused, connection, framed, listening
from tests.rpc.serving import SOON_S, Told, serve, until, within

C = chat_pb2
LARGE = bytes(65 * 1024)


async def ask(http: Http, method: str, raw: bytes, *, is_packed: bool = False) -> None:
    """One call, whose only message is this."""
    is_plain = method == "Chat" and http.family == "connect"
    name = "content_encoding" if is_plain else {"connect": "connect_content_encoding"}.get(http.family, "grpc_encoding")
    headers: dict[str, Any] = {name: "gzip"} if is_packed else {}
    body = raw if is_plain else framed(raw, int(is_packed))
    http.post(f"ChatService/{method}", body, is_unary=method == "Chat", **headers)
    await (http.single(C.ChatResponse) if method == "Chat" else http.all(C.StreamChatResponse))


async def refused(http: Http, method: str, raw: bytes, *, is_packed: bool = False) -> Told:
    with pytest.raises(Refused) as caught:
        await ask(http, method, raw, is_packed=is_packed)
    return caught.value.told


@pytest.mark.parametrize("method", ["Chat", "StreamChat", "Converse"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_body_that_is_no_message_is_told_of_as_such(protocol: str, method: str) -> None:
    async with serve() as client, listening(client.server) as port, connection(port, protocol) as http:
        for _ in range(2):  # the connection goes on
            said = await refused(http, method, b"\x0a\x7fshort" if http.form == "proto" else b'{"chat":1,"promt":2}')
            assert (said.code, said.reason) == (K.INVALID_ARGUMENT, "MALFORMED_REQUEST")
            assert said.request_id == said.trailers["x-request-id"]


@pytest.mark.parametrize("method", ["Chat", "StreamChat", "Converse"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_gzip_that_is_none_is_told_of_as_such(protocol: str, method: str) -> None:
    async with serve() as client, listening(client.server) as port, connection(port, protocol) as http:
        whole = gzip.compress(b"x" * 1000)
        for packed in (b"no gzip", whole[:-9], whole + b"\0", whole + gzip.compress(b"")):
            said = await refused(http, method, packed, is_packed=True)
            assert (said.code, said.reason) == (K.INVALID_ARGUMENT, "MALFORMED_REQUEST")


async def test_gzip_of_many_parts_is_refused_with_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def counted(**how: Any) -> Any:
        made.append(unpacker(**how))
        return made[-1]

    unpacker = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", counted)
    packed = Gzip().decompress(gzip.compress(b"") * 2000)
    with pytest.raises(ConnectError):
        await Format(is_json=False, limits=Limits()).read(packed, C.ChatRequest, C.ChatRequest.FromString)
    assert len(made) == 1


async def test_messages_that_take_long_to_read_keep_nobody_else_from_threads() -> None:
    begun, goes_on = threading.Semaphore(0), threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    form = Format(is_json=False, limits=Limits())

    def slow(raw: bytes) -> bytes:
        begun.release()
        assert goes_on.wait(SOON_S)
        return raw

    try:
        readings = [asyncio.create_task(form.read(LARGE, C.ChatRequest, slow)) for _ in range(5)]
        await until(lambda: begun.acquire(blocking=False))
        assert await within(asyncio.to_thread(int, "7")) == 7
        await until(lambda: begun.acquire(blocking=False))
        for each in readings[2:]:  # hung up: none of these has begun
            each.cancel()
        await within(asyncio.wait(readings[2:]))
        goes_on.set()
        assert await within(asyncio.gather(*readings[:2])) == [LARGE] * 2
        assert await form.read(LARGE, C.ChatRequest, len) == len(LARGE)
        assert not begun.acquire(blocking=False)
    finally:
        goes_on.set()


async def test_messages_are_read_though_all_other_threads_are_taken() -> None:
    goes_on = threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    taken = loop.run_in_executor(None, goes_on.wait, SOON_S)
    try:
        form = Format(is_json=True, limits=Limits())
        request = C.ChatResponse(text="x" * len(LARGE))
        raw = await within(form.write(request, C.ChatResponse.SerializeToString))
        assert await within(form.read(raw, C.ChatResponse, C.ChatResponse.FromString)) == request
    finally:
        goes_on.set()
        await taken


@pytest.mark.parametrize("body", [b"\x00\x00\x00\x00\x09cut", b"\x09\x00\x00\x00\x00", b"\x00\x00"])
@pytest.mark.parametrize("method", ["StreamChat", "Converse"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_frame_that_is_none_is_told_of_as_such(protocol: str, method: str, body: bytes) -> None:
    async with serve() as client, listening(client.server) as port, connection(port, protocol) as http:
        http.post(f"ChatService/{method}", body)
        with pytest.raises(Refused) as caught:
            await http.all(C.StreamChatResponse)
    assert (caught.value.told.code, caught.value.told.reason) == (K.INVALID_ARGUMENT, "MALFORMED_REQUEST")


@pytest.mark.parametrize("method", ["Chat", "StreamChat", "Converse"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_more_than_is_read_is_refused_packed_or_not(protocol: str, method: str) -> None:
    limits = Limits(request_bytes=1 * MIB)
    async with serve(limits=limits) as client, listening(client.server) as port, connection(port, protocol) as http:
        for body, is_packed in ((gzip.compress(b" " * (1 * MIB + 1)), True), (bytes(1 * MIB + 1), False)):
            said = await refused(http, method, body, is_packed=is_packed)
            assert said.code is K.RESOURCE_EXHAUSTED
            assert said.trailers["x-request-id"]


@pytest.mark.parametrize(
    ("line", "headers", "status", "code"),
    [
        ("POST /stepwire.v1.ChatService/None", {"content-type": "application/json"}, 404, "unimplemented"),
        ("POST /grpc.health.v1.Health/Check", {"content-type": "application/json"}, 404, "unimplemented"),
        ("POST /stepwire.v1.ChatService/None", {"content-type": "application/grpc-web"}, 200, ""),
        ("GET /stepwire.v1.ChatService/Chat?encoding=json&message={}", {}, 405, "unimplemented"),
        ("POST /stepwire.v1.ChatService/Chat", {"content-type": "text/plain"}, 415, "invalid_argument"),
        ("POST /stepwire.v1.ChatService/Chat", {}, 415, "invalid_argument"),
        ("POST /stepwire.v1.ChatService/Chat", {"content-type": "application/grpc"}, 415, "invalid_argument"),
        ("POST /stepwire.v1.ChatService/Chat", {"content-type": "application/connect+json"}, 415, "invalid_argument"),
        ("POST /stepwire.v1.ChatService/StreamChat", {"content-type": "application/json"}, 415, "invalid_argument"),
        (
            "POST /stepwire.v1.ChatService/Chat",
            {"content-type": "application/json", "connect-timeout-ms": "soon"},
            400,
            "invalid_argument",
        ),
        (
            "POST /stepwire.v1.ChatService/Chat",
            {"content-type": "application/json", "connect-protocol-version": "2"},
            400,
            "invalid_argument",
        ),
        (
            "POST /stepwire.v1.ChatService/Chat",
            {"content-type": "application/json", "content-encoding": "br"},
            501,
            "unimplemented",
        ),
    ],
)
async def test_http_that_is_no_call_is_refused(line: str, headers: dict[str, str], status: int, code: str) -> None:
    async with serve() as client, listening(client.server) as port, connection(port) as http:
        for _ in range(2):
            said = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
            http.writer.write(f"{line} HTTP/1.1\r\nhost: a\r\n{said}content-length: 2\r\n\r\n{{}}".encode())
            reply = await http.reply()
            assert reply.status == status
            body = await reply.body()
            assert not code or json.loads(body)["code"] == code
            assert status != 200 or reply.headers["grpc-status"] == "12"


async def test_headers_that_are_no_text_do_no_harm() -> None:
    async with serve() as client, listening(client.server) as port, connection(port) as http:
        head = (
            b"POST /stepwire.v1.ChatService/Chat HTTP/1.1\r\nhost: a\r\ncontent-type: Application/JSON; charset=a\r\n"
        )
        http.writer.write(
            head + b"x-request-id: \xff\xfe\r\na-bin: !!\r\ncontent-length: 14\r\n\r\n" + b'{"prompt":"a"}'
        )
        reply = await http.reply()
        assert reply.status == 200
        assert json.loads(await reply.body())["text"] == "a"


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_bytes_at_random_are_always_answered_with_a_status(protocol: str) -> None:
    random_ = random.Random(7)
    valid = [b'{"prompt":"hello","options":{"seed":1}}', C.ChatRequest(prompt="hello").SerializeToString()]
    async with serve() as client, listening(client.server) as port, connection(port, protocol) as http:
        for _ in range(300):
            raw = bytearray(random_.choice(valid))
            for _ in range(random_.randint(1, 4)):
                raw[random_.randrange(len(raw))] = random_.randrange(256)
            body = bytes(raw) if http.family == "connect" else framed(bytes(raw))
            with suppress(Refused):
                await http.unary("ChatService/Chat", body, C.ChatResponse)
    calls = client.metrics.calls
    assert len(calls) == 300
    assert {code for _, code, _ in calls} <= {"OK", "INVALID_ARGUMENT"}
