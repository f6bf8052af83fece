"""Connect behind the front: whose pages may call, and the patience of each of the two."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from google.protobuf.message import Message
from grpc import StatusCode as K

from stepwire.v1 import chat_pb2
from stepwired.events import Batch, Chat, ChatRequest, TextDelta
from stepwired.limits import Limits
from stepwired.web.bounds import Bounds
from stepwired.web.server import Parts, Settings, WebServer
from tests.rpc.connecting import PROTOCOLS, Http, Refused, connection
from tests.rpc.serving import (
    STARTED,
    Catalogue,
    Client,
    Recorder,
    Silent,
    count,
    echo,
    finished,
    serve,
    until,
    within,
)

C = chat_pb2
PAGE = "http://localhost:1"


@asynccontextmanager
async def mounted(client: Client, chat: Chat, limits: Limits, **bounds: Any) -> AsyncIterator[tuple[int, WebServer]]:
    parts = Parts(chat, count, Catalogue(), client.server, {"/stepwire.v1.": client.server.connect()})
    settings = Settings(allow_origins=[PAGE], bounds=Bounds(**bounds))
    web = WebServer(parts, settings, limits, Recorder())
    port = await web.start("127.0.0.1", 0)
    try:
        yield port, web
    finally:
        await web.close()


@asynccontextmanager
async def front(chat: Chat = echo, **bounds: Any) -> AsyncIterator[int]:
    limits = Limits(stalled_sender_s=0.5)
    async with serve(chat, limits=limits) as client, mounted(client, chat, limits, **bounds) as (port, _):
        yield port


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_pages_that_are_let_in_get_answers_that_they_may_read(protocol: str) -> None:
    async with front() as port, connection(port, protocol) as http:
        reply, ended = await http.unary("ChatService/Chat", C.ChatRequest(prompt="a b"), C.ChatResponse, origin=PAGE)
        assert reply.text == "ab"
        http.post("ChatService/StreamChat", C.StreamChatRequest(prompt="a"), origin=PAGE)
        _, ended = await http.all(C.StreamChatResponse)
        assert ended.headers["access-control-allow-origin"] == PAGE
        assert "grpc-status-details-bin" in ended.headers["access-control-expose-headers"].lower()


@pytest.mark.parametrize(
    "headers", ["connect-protocol-version,connect-timeout-ms", "x-grpc-web,x-user-agent,grpc-timeout"]
)
async def test_browsers_are_told_that_they_may_send_what_the_protocols_need(headers: str) -> None:
    async with front() as port, connection(port) as http:
        path = "/stepwire.v1.ChatService/Chat"
        asked = f"origin: {PAGE}\r\naccess-control-request-method: POST\r\naccess-control-request-headers: {headers}"
        http.writer.write(f"OPTIONS {path} HTTP/1.1\r\nhost: localhost\r\n{asked}\r\n\r\n".encode())
        reply = await http.reply()
        allowed = reply.headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
        assert set(headers.split(",")) <= set(allowed)


async def test_a_talk_stays_open_while_its_caller_waits_for_the_model() -> None:
    goes_on = asyncio.Event()

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [STARTED]
        await goes_on.wait()
        yield [finished("")]

    async with front(chat, body_idle_s=0.05) as port, connection(port) as http:
        http.begin("ChatService/Converse")
        http.send(C.ConverseRequest(chat=C.StreamChatRequest(prompt="a")))
        messages = http.messages(await http.reply(), C.ConverseResponse, [])
        assert (await anext(messages)).HasField("started")
        await asyncio.sleep(0.3)  # the front would have given the sender up long ago
        goes_on.set()
        assert (await anext(messages)).HasField("finished")
        http.end()
        assert [each async for each in messages] == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_request_that_does_not_come_is_given_up_in_its_own_words(protocol: str) -> None:
    async with front(body_idle_s=0.05) as port, connection(port, protocol) as http:
        http.begin("ChatService/Chat", is_unary=True, size=100)
        with pytest.raises(Refused) as caught:
            await http.single(C.ChatResponse)
        assert caught.value.told.reason == "SLOW_PRODUCER"


async def test_hanging_up_stops_the_model() -> None:
    model = Silent(begins=True)
    async with front(model.chat) as port:
        for method, request in (("StreamChat", C.StreamChatRequest(prompt="a")), ("Chat", C.ChatRequest(prompt="a"))):
            model.stopped.clear()
            model.asked.clear()
            async with connection(port) as http:
                http.post(f"ChatService/{method}", request, is_unary=method == "Chat")
                await within(model.asked.wait())
            await within(model.stopped.wait())


@pytest.mark.parametrize("is_reset", [False, True])
async def test_hanging_up_during_a_turn_stops_the_model_however_much_waits_unread(is_reset: bool) -> None:
    model = Silent(begins=True)
    async with front(model.chat) as port:
        async with connection(port) as http:
            http.begin("ChatService/Converse")
            http.send(C.ConverseRequest(chat=C.StreamChatRequest(prompt="hi")))
            await within(model.asked.wait())
            for _ in range(6):
                http.send(C.ConverseRequest(chat=C.StreamChatRequest(prompt="x" * 100_000)))
            await within(http.writer.drain())
            if is_reset:
                sock = http.writer.transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await within(model.stopped.wait())


async def test_hanging_up_stops_a_model_that_speaks_however_much_waits_unread() -> None:
    stopped = asyncio.Event()

    async def endless(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        try:
            yield [STARTED]
            while True:
                yield [TextDelta("token ")]
                await asyncio.sleep(0)
        finally:
            stopped.set()

    async with front(endless) as port:
        async with connection(port) as http:
            http.begin("ChatService/Converse")
            for _ in range(6):
                http.send(C.ConverseRequest(chat=C.StreamChatRequest(prompt="x" * 100_000)))
            messages = http.messages(await http.reply(), C.ConverseResponse, [])
            assert (await anext(messages)).HasField("started")
        await within(stopped.wait())


@pytest.mark.parametrize("protocol", ["connect json", "grpc-web proto"])
@pytest.mark.parametrize("method", ["Chat", "StreamChat", "Converse"])
async def test_the_server_ends_though_readers_do_not_read(protocol: str, method: str) -> None:
    written = 0

    async def speak(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        nonlocal written
        yield [STARTED]
        for _turn in range(30):
            yield [TextDelta("x" * 60_000)]
            written += 1
        yield [finished("x")]

    limits = Limits()
    async with serve(speak, limits=limits) as client, mounted(client, speak, limits, stalled_s=1000) as (port, web):
        with socket.socket() as narrow:
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            narrow.setblocking(False)
            await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", port))
            async with connection(0, protocol, sock=narrow, limit=1024) as http:
                stream = C.StreamChatRequest(prompt="a")
                requests: dict[str, Message] = {"StreamChat": stream, "Converse": C.ConverseRequest(chat=stream)}
                body = requests.get(method, C.ChatRequest(prompt="a"))
                http.post(f"ChatService/{method}", body, is_unary=method == "Chat")
                await http.reply()
                assert written == 30 or method != "Chat"
                await within(client.server.drain(0))
                await within(web.close())


@pytest.mark.parametrize("path", ["stepwire.v1.ChatService/Chat", "v1/chat/completions"])
async def test_requests_that_come_slowly_are_refused_once_they_are_too_much_together(path: str) -> None:
    limits = Limits(bodies_bytes=1_000_000)
    async with serve(limits=limits) as client, mounted(client, echo, limits) as (port, _), AsyncExitStack() as callers:
        bodies = client.server.places.bodies
        head = (
            f"POST /{path} HTTP/1.1\r\nhost: localhost\r\n"
            "content-type: application/json\r\ncontent-length: 900000\r\n\r\n"
        )

        async def begun() -> Http:
            http = await callers.enter_async_context(connection(port))
            http.writer.write(head.encode() + b"{" + b" " * 700_000)
            return http

        first = await begun()
        await until(lambda: bodies.held_bytes > 600_000)
        reply = await (await begun()).reply()
        assert reply.status == 429
        assert b"requests of 1000000 bytes are being sent already" in await reply.body()
        async with connection(port) as small:
            assert (await small.unary("ChatService/Chat", C.ChatRequest(prompt="a"), C.ChatResponse))[0].text == "a"
        first.hang_up()
        await until(lambda: not bodies.held_bytes)
        third = await begun()
        asked = b'"prompt":"a"' if "Service" in path else b'"model":"m","messages":[{"role":"user","content":"a"}]'
        third.writer.write(asked.ljust(899_998 - 700_000) + b"}")
        assert (await third.reply()).status == 200
        assert not bodies.held_bytes


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_streams_count_what_they_send_until_it_is_read(protocol: str) -> None:
    limits = Limits(bodies_bytes=600_000)
    async with serve(limits=limits) as client, mounted(client, echo, limits) as (port, _):
        bodies = client.server.places.bodies
        async with connection(port, protocol) as http:
            http.begin("ChatService/Converse")
            for _ in range(8):  # more than there is room for at once, each read before the next
                http.send(C.ConverseRequest(chat=C.StreamChatRequest(prompt="x" * 150_000)))
                await until(lambda: not bodies.held_bytes)
            http.end()
            messages, _ = await http.all(C.ConverseResponse)
            assert messages[-1].turn == 8
        async with connection(port, protocol) as http:
            http.post("ChatService/Converse", C.ConverseRequest(chat=C.StreamChatRequest(prompt="x" * 900_000)))
            with pytest.raises(Refused) as caught:
                await http.all(C.ConverseResponse)
            assert (caught.value.told.code, caught.value.told.reason) == (K.RESOURCE_EXHAUSTED, "CONCURRENCY_LIMITED")
        await until(lambda: not bodies.held_bytes)
