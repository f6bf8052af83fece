"""The services over Connect and gRPC-Web, on real sockets: every kind of call, in every form."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from stepwire.v1 import chat_pb2, conversation_pb2
from stepwired.events import Batch, ChatRequest, TextDelta
from stepwired.limits import KIB
from tests.conftest import ROOT
from tests.rpc.connecting import PROTOCOLS, connection, framed, listening
from tests.rpc.keeping import stored
from tests.rpc.serving import SOON_S, STARTED, finished, serve

C, V = chat_pb2, conversation_pb2
HI = C.StreamChatRequest(prompt="hello there")


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_call_that_answers_once_is_answered(protocol: str) -> None:
    async with serve() as client, listening(client.server) as port, connection(port, protocol) as http:
        reply, ended = await http.unary("ChatService/Chat", C.ChatRequest(prompt="hello there"), C.ChatResponse)
        assert reply.text == "hellothere"
        assert ended.trailers["x-request-id"]
        models, _ = await http.unary("ChatService/ListModels", C.ListModelsRequest(), C.ListModelsResponse)
        assert [model.name for model in models.models] == ["echo"]
    assert client.metrics.calls[0] == ("/stepwire.v1.ChatService/Chat", "OK", "")


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_stream_comes_message_by_message(protocol: str) -> None:
    async with serve() as client, listening(client.server) as port, connection(port, protocol) as http:
        for _ in range(2):  # on one connection
            http.post("ChatService/StreamChat", HI, x_request_id="mine")
            messages, ended = await http.all(C.StreamChatResponse)
            kinds = [message.WhichOneof("event") for message in messages]
            assert kinds == ["started", "text_delta", "text_delta", "finished"]
            assert ended.trailers == {"x-request-id": "mine"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_piece_is_sent_when_it_is_there(protocol: str) -> None:
    goes_on = asyncio.Event()

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [STARTED, TextDelta("a")]
        await goes_on.wait()
        yield [finished("a")]

    async with serve(chat) as client, listening(client.server) as port, connection(port, protocol) as http:
        http.post("ChatService/StreamChat", HI)
        messages = http.messages(await http.reply(), C.StreamChatResponse, [])
        assert (await anext(messages)).HasField("started")
        assert (await anext(messages)).text_delta.text == "a"
        goes_on.set()
        assert (await anext(messages)).HasField("finished")
        assert [each async for each in messages] == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_talk_goes_both_ways_at_once(protocol: str) -> None:
    async with serve() as client, listening(client.server) as port, connection(port, protocol) as http:
        http.begin("ChatService/Converse")
        http.send(C.ConverseRequest(chat=C.StreamChatRequest(prompt="one two")))
        messages = http.messages(await http.reply(), C.ConverseResponse, [])
        heard = [await anext(messages)]
        while not heard[-1].HasField("finished"):
            heard.append(await anext(messages))
        http.send(C.ConverseRequest(chat=C.StreamChatRequest(prompt="three")))
        http.end()
        heard += [each async for each in messages]
    assert [(each.turn, each.WhichOneof("event")) for each in heard] == [
        (1, "started"), (1, "text_delta"), (1, "text_delta"), (1, "finished"),
        (2, "started"), (2, "text_delta"), (2, "finished"),
    ]  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_talk_may_be_sent_whole_before_it_is_answered_as_browsers_have_to(protocol: str) -> None:
    async with serve() as client, listening(client.server) as port, connection(port, protocol) as http:
        asked = (C.ConverseRequest(chat=C.StreamChatRequest(prompt=word)) for word in ("one", "two"))
        http.post("ChatService/Converse", b"".join(map(http.packed, asked)))
        messages, _ = await http.all(C.ConverseResponse)
    assert [each.turn for each in messages if each.HasField("finished")] == [1, 2]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_stream_is_read_to_its_end_and_answered_once(protocol: str, tmp_path: Path) -> None:
    first = V.ImportConversationRequest(conversation_id="c", format=V.CONVERSATION_FORMAT_OPENAI_MESSAGES)
    async with stored(tmp_path) as client, listening(client.server) as port, connection(port, protocol) as http:
        await http.unary(
            "ConversationService/ListConversations", V.ListConversationsRequest(), V.ListConversationsResponse
        )
        http.begin("ConversationService/ImportConversation")
        whole = json.dumps([{"role": "user", "content": "x" * KIB}] * 3).encode()
        first.chunk = whole[:1000]
        http.send(first)
        http.send(V.ImportConversationRequest(chunk=whole[1000:]))
        http.end()
        [made], _ = await http.all(V.ImportConversationResponse)
        assert made.conversation.message_count == 3


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_requests_may_be_compressed_and_replies_are_not(protocol: str) -> None:
    async with serve() as client, listening(client.server) as port, connection(port, protocol) as http:
        asking: dict[str, Any] = {
            "accept_encoding": "gzip",
            "connect_accept_encoding": "gzip",
            "grpc_accept_encoding": "gzip",
        }
        if http.family == "connect":
            packed = gzip.compress(http.packed(C.ChatRequest(prompt="a b"), is_unary=True))
            reply, _ = await http.unary("ChatService/Chat", packed, C.ChatResponse, content_encoding="gzip", **asking)
            assert reply.text == "ab"
        name = "connect_content_encoding" if http.family == "connect" else "grpc_encoding"
        raw = http.packed(HI)[5:]
        http.post("ChatService/StreamChat", framed(gzip.compress(raw), 1), **(asking | {name: "gzip"}))
        messages, _ = await http.all(C.StreamChatResponse)
        assert messages[-1].HasField("finished")


@pytest.mark.parametrize("protocol", ["connect", "grpcweb"])
async def test_buf_curl_gets_its_answers(protocol: str, buf: str) -> None:
    async with serve() as client, listening(client.server) as port:

        async def curl(method: str, data: str) -> tuple[int, str, str]:
            url = f"http://127.0.0.1:{port}/stepwire.v1.{method}"
            command = [buf, "curl", "--protocol", protocol, "--schema", str(ROOT / "proto"), "--data", data, url]
            made = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=SOON_S)
            return made.returncode, made.stdout, made.stderr

        code, out, _ = await curl("ChatService/Chat", '{"prompt": "hello there"}')
        assert (code, json.loads(out)["text"]) == (0, "hellothere")
        code, out, _ = await curl("ChatService/StreamChat", '{"prompt": "hello there"}')
        assert code == 0
        assert out.count("textDelta") == 2
        code, _, error = await curl("ChatService/GetModel", '{"name": "none"}')
        assert code == 8 * 5  # eight times the status's number
        assert "no model none" in error
        assert "google.rpc.ErrorInfo" in error


async def test_a_key_in_the_headers_reaches_the_model() -> None:
    keys: list[str] = []

    async def chat(request: ChatRequest) -> AsyncGenerator[Batch, None]:
        keys.append(request.caller_key)
        yield [STARTED, finished("")]

    async with serve(chat) as client, listening(client.server) as port, connection(port) as http:
        await http.unary("ChatService/Chat", C.ChatRequest(prompt="a"), C.ChatResponse, x_provider_key="sk-mine")
    assert keys == ["sk-mine"]


@pytest.fixture
def buf() -> str:
    return str(Path(sys.executable).with_name("buf"))
