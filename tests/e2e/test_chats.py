"""Chats through the whole server on a scripted provider: repeats, keys of callers, counts, tools and talks."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from stepwire.v1 import chat_pb2, chat_pb2_grpc, conversation_pb2, conversation_pb2_grpc, message_pb2
from tests.fakeprov import Exchange, Provider
from tests.fakeprov.behaviours import chunk, in_turn, reply, stalled, status, stream
from tests.program import HANG_S, Program, running
from tests.rpc.serving import told

SETTINGS = """
[local]
enabled = false
[endpoints.fake]
base_url = "{base_url}"
{endpoint}
[models.m]
model = "gpt-4o"
endpoint = "fake"
context_length = 100
"""
CANARY = "sk-canary-0123456789"


def settings(provider: Provider, endpoint: str = "") -> str:
    return SETTINGS.format(base_url=provider.base_url, endpoint=endpoint)


def request(**fields: Any) -> chat_pb2.StreamChatRequest:
    return json_format.ParseDict({"prompt": "hi", **fields}, chat_pb2.StreamChatRequest())


async def events(program: Program, **fields: Any) -> list[chat_pb2.StreamChatResponse]:
    async with program.channel() as channel:
        call = chat_pb2_grpc.ChatServiceStub(channel).StreamChat(request(**fields), timeout=HANG_S)
        return [each async for each in call]


async def everything(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


def asking(name: str, arguments: dict[str, Any], call_id: str = "call1") -> Any:
    """A reply that asks for a tool."""
    call = {"index": 0, "id": call_id, "function": {"name": name, "arguments": json.dumps(arguments)}}
    return stream(chunk(tool_calls=[call]) + chunk(finish="tool_calls") + b"data: [DONE]\n\n")


@pytest.fixture
async def provider() -> AsyncGenerator[Provider]:
    async with Provider(reply()) as provider:
        yield provider


async def test_a_call_whose_server_was_killed_in_the_middle_is_repeated_on_the_next(
    provider: Provider, tmp_path: Path
) -> None:
    provider.behaviour = in_turn(stalled(), reply())
    repeated = {"conversation_id": "c", "request_id": "r1"}
    async with running(tmp_path, settings(provider)) as program, program.channel() as channel:
        conversations = conversation_pb2_grpc.ConversationServiceStub(channel)
        await conversations.CreateConversation(conversation_pb2.CreateConversationRequest(conversation_id="c"))
        call = chat_pb2_grpc.ChatServiceStub(channel).StreamChat(request(**repeated), timeout=HANG_S)
        await call.read()
        await program.end(signal.SIGKILL)
        with pytest.raises(grpc.aio.AioRpcError):
            await everything(call)
    async with running(tmp_path, settings(provider)) as program:
        assert not (await events(program, **repeated))[0].started.replayed
        assert (await events(program, **repeated))[0].started.replayed
        async with program.channel() as channel:
            pages = conversation_pb2_grpc.ConversationServiceStub(channel).StreamMessages(
                conversation_pb2.StreamMessagesRequest(conversation_id="c", view=conversation_pb2.MESSAGE_VIEW_ALL)
            )
            texts = [message.text async for page in pages for message in page.messages]
    assert texts == ["hi", "Hello"]
    assert len(provider.requests) == 2


async def test_the_id_that_a_provider_gave_a_call_is_taken_back_with_the_answer(
    provider: Provider, tmp_path: Path
) -> None:
    call_id = "functions.look/0|fc 1" + "aGk+/w==" * 400
    provider.behaviour = in_turn(asking("look", {"at": "sky"}, call_id), reply(), reply())
    answer = message_pb2.Message(role="tool", tool_result=message_pb2.ToolResult(tool_id=call_id, result="blue"))
    tools = {"tools": [{"name": "look"}]}
    async with running(tmp_path, settings(provider)) as program, program.channel() as channel:
        conversations = conversation_pb2_grpc.ConversationServiceStub(channel)
        await conversations.CreateConversation(conversation_pb2.CreateConversationRequest(conversation_id="c"))
        asked = await events(program, conversation_id="c", options=tools)
        uses = [message for message in asked[-1].finished.messages if message.HasField("tool_use")]
        assert [message.tool_use.tool_id for message in uses] == [call_id]
        await conversations.AppendMessages(
            conversation_pb2.AppendMessagesRequest(conversation_id="c", messages=[answer]), timeout=HANG_S
        )
        await events(program, conversation_id="c", options=tools)
        said = [message_pb2.Message(text="hi"), *uses, answer]
        chat = chat_pb2_grpc.ChatServiceStub(channel)
        await chat.Chat(chat_pb2.ChatRequest(messages=said), timeout=HANG_S)
    for request_ in provider.requests[1:]:
        _, call, result = request_.json()["messages"][:3]
        assert (call["tool_calls"][0]["id"], result["tool_call_id"]) == (call_id, call_id)


def files(folder: Path) -> list[tuple[str, bytes]]:
    return [(file.name, file.read_bytes()) for file in folder.iterdir()]


async def test_a_callers_key_is_sent_to_the_endpoint_that_asks_for_it_and_told_nobody(
    provider: Provider, tmp_path: Path
) -> None:
    provider.behaviour = status(401, body={"error": {"message": f"no such key {CANARY}", "code": "invalid_api_key"}})
    async with running(tmp_path, settings(provider, 'keys = "caller"')) as program:
        async with program.channel() as channel:
            stub = chat_pb2_grpc.ChatServiceStub(channel)
            for metadata in ((), (("x-provider-key", CANARY),)):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.Chat(chat_pb2.ChatRequest(prompt="hi", request_id="r"), metadata=metadata)
                error = told(caught.value)
                assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "PROVIDER_CALLER_KEY_INVALID")
                assert "invalid api key" in error.message
                assert CANARY not in str(caught.value.trailing_metadata()) + error.message
        await program.end()
    assert [f"Bearer {CANARY}".encode() in sent.head for sent in provider.requests] == [True]
    assert [name for name, content in files(tmp_path) if CANARY.encode() in content] == []


async def test_what_is_too_long_is_not_sent_and_what_is_counted_is_not_asked(
    provider: Provider, tmp_path: Path
) -> None:
    async with running(tmp_path, settings(provider)) as program:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await events(program, prompt="hello " * 200)
        async with program.channel() as channel:
            count = await chat_pb2_grpc.ChatServiceStub(channel).CountTokens(
                chat_pb2.CountTokensRequest(prompt="hello world")
            )
    error = told(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CONTEXT_LENGTH_EXCEEDED")
    assert error.facts["limitTokens"] == "100"
    assert 200 <= int(error.facts["requestedTokens"]) <= 202
    assert "context length" in error.message
    assert (count.input_token_count, count.source) == (9, message_pb2.USAGE_SOURCE_ESTIMATED)
    assert provider.requests == []


async def test_a_talk_sends_the_provider_what_the_caller_answered(provider: Provider, tmp_path: Path) -> None:
    provider.behaviour = in_turn(asking("find", {"q": "fox"}), reply(["A", " fox"]))
    tools = [{"name": "find", "schema": {"type": "object", "properties": {"q": {"type": "string"}}}}]
    async with running(tmp_path, settings(provider)) as program, program.channel() as channel:
        call = chat_pb2_grpc.ChatServiceStub(channel).Converse(timeout=HANG_S)
        await call.write(chat_pb2.ConverseRequest(chat=request(options={"tools": tools})))
        heard: list[Any] = []
        while not (heard and heard[-1].HasField("finished")):
            heard.append(await call.read())
        (use,) = [each.tool_call.tool_use for each in heard if each.tool_call.HasField("tool_use")]
        assert (use.name, dict(use.input)) == ("find", {"q": "fox"})
        result = message_pb2.ToolResult(tool_id=use.tool_id, result="a fox was found")
        await call.write(chat_pb2.ConverseRequest(tool_result=result))
        while not (heard[-1].turn == 2 and heard[-1].HasField("finished")):
            heard.append(await call.read())
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK
    sent = json.loads(provider.requests[1].body)["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == use.tool_id
    assert sent[2]["content"] == "a fox was found"


async def test_a_conversation_that_ends_in_an_answer_is_gone_on_with(provider: Provider, tmp_path: Path) -> None:
    provider.behaviour = in_turn(asking("find", {"q": "fox"}), reply(["A", " fox"]))
    async with running(tmp_path, settings(provider)) as program:
        async with program.channel() as channel:
            stub = conversation_pb2_grpc.ConversationServiceStub(channel)
            await stub.CreateConversation(conversation_pb2.CreateConversationRequest(conversation_id="c"))
        tools = {"tools": [{"name": "find"}]}
        first = await events(program, conversation_id="c", options=tools)
        use = first[-1].finished.messages[0].tool_use
        answer = [{"tool_result": {"tool_id": use.tool_id, "result": "a fox"}}]
        last = await events(program, prompt="", conversation_id="c", messages=answer, options=tools)
    assert last[-1].finished.messages[0].text == "A fox"
    roles = [message["role"] for message in json.loads(provider.requests[1].body)["messages"]]
    assert roles == ["user", "assistant", "tool"]


async def never(_: Exchange) -> None:
    raise AssertionError("asked")


async def test_a_repeat_is_answered_by_a_server_whose_provider_is_gone(provider: Provider, tmp_path: Path) -> None:
    async with running(tmp_path, settings(provider)) as program:
        await events(program, request_id="r")
        provider.behaviour = never
        again = await events(program, request_id="r")
    assert [each.WhichOneof("event") for each in again] == ["started", "text_delta", "finished"]
    assert again[1].text_delta.text == "Hello"
