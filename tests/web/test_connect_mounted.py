"""Connect behind the front: whose pages may call, and the patience of each of the two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from stepwire.v1 import chat_pb2
from stepwired.events import Batch, Chat, ChatRequest
from stepwired.limits import Limits
from stepwired.web.bounds import Bounds
from stepwired.web.server import Parts, Settings, WebServer
from tests.rpc.connecting import PROTOCOLS, Refused, connection
from tests.rpc.serving import STARTED, Catalogue, Recorder, Silent, count, echo, finished, serve, within

C = chat_pb2
PAGE = "http://localhost:1"


@asynccontextmanager
async def front(chat: Chat = echo, **bounds: Any) -> AsyncIterator[int]:
    limits = Limits(stalled_sender_s=0.5)
    async with serve(chat, limits=limits) as client:
        parts = Parts(chat, count, Catalogue(), client.server, {"/stepwire.v1.": client.server.connect()})
        settings = Settings(allow_origins=[PAGE], bounds=Bounds(**bounds))
        web = WebServer(parts, settings, limits, Recorder())
        port = await web.start("127.0.0.1", 0)
        try:
            yield port
        finally:
            await web.close()


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
