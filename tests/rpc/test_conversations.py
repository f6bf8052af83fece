from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from google.protobuf import json_format

from stepwire.v1 import conversation_pb2, message_pb2
from stepwired.events import Message, Role, ToolResult
from stepwired.limits import Limits
from stepwired.store.base import ConversationStore
from stepwired.store.sqlite import SqliteStore
from tests.rpc.serving import Client, serve, told


@asynccontextmanager
async def stored(folder: Path, limits: Limits | None = None) -> AsyncIterator[Client]:
    store = await SqliteStore.open(folder, limits=limits)
    try:
        async with serve(store=store, limits=limits) as client:
            yield client
    finally:
        await store.close()


def create(text: str) -> conversation_pb2.CreateConversationRequest:
    return json_format.Parse(text, conversation_pb2.CreateConversationRequest())


def append(text: str) -> conversation_pb2.AppendMessagesRequest:
    return json_format.Parse(text, conversation_pb2.AppendMessagesRequest())


async def messages(client: Client, **fields: object) -> list[message_pb2.Message]:
    request = conversation_pb2.StreamMessagesRequest(**fields)  # type: ignore[arg-type]
    return [message async for page in client.conversations.StreamMessages(request) for message in page.messages]


async def test_what_is_created_and_appended_comes_back(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        made = await client.conversations.CreateConversation(
            create(
                """{"conversation_id": "c1", "title": "t", "metadata": {"n": 1}, "messages": [
                    {"role": "system", "text": "S", "id": "s", "metadata": {"hidden": true},
                     "create_time": "2024-02-29T12:00:00Z"},
                    {"text": "U"}]}"""
            )
        )
        assert (made.conversation.id, made.conversation.title, made.conversation.revision) == ("c1", "t", 3)
        assert made.message_ids[0] == "s"
        assert made.conversation.head_id == made.message_ids[1]
        changed = await client.conversations.AppendMessages(
            append(
                """{"conversation_id": "c1", "messages": [
                    {"tool_use": {"tool_id": "k", "name": "find", "input": {"q": "x"}}},
                    {"tool_result": {"tool_id": "k", "result": "r"}}]}"""
            )
        )
        assert (changed.conversation.message_count, changed.conversation.revision) == (4, 5)
        got = await client.conversations.GetConversation(conversation_pb2.GetConversationRequest(conversation_id="c1"))
        assert got.conversation == changed.conversation
        assert got.conversation.metadata["n"] == 1
        first, second, use, result = await messages(client, conversation_id="c1")
    assert (first.role, first.text, first.create_time.seconds) == ("system", "S", 1_709_208_000)
    assert first.metadata["hidden"] is True
    assert (second.role, second.parent_id) == ("user", "s")
    assert (use.role, use.tool_use.name, use.tool_use.input["q"]) == ("assistant", "find", "x")
    assert (result.role, result.tool_result.result) == ("tool", "r")
    assert {message.status for message in (first, second, use, result)} == {message_pb2.MESSAGE_STATUS_COMPLETE}


async def test_every_view_shows_its_messages(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        await client.conversations.CreateConversation(
            create('{"conversation_id": "c", "messages": [{"id": "a", "text": "a"}, {"id": "b", "text": "b"}]}')
        )
        await client.conversations.AppendMessages(
            append('{"conversation_id": "c", "messages": [{"id": "x", "parent_id": "a", "text": "x"}]}')
        )

        async def ids(view: Any, message_id: str = "") -> str:
            shown = await messages(client, conversation_id="c", view=view, message_id=message_id)
            return "".join(message.id for message in shown)

        assert await ids(conversation_pb2.MESSAGE_VIEW_UNSPECIFIED) == "ax"
        assert await ids(conversation_pb2.MESSAGE_VIEW_HEAD_PATH) == "ax"
        assert await ids(conversation_pb2.MESSAGE_VIEW_PATH_TO, "b") == "ab"
        assert await ids(conversation_pb2.MESSAGE_VIEW_LEFTMOST) == "ab"
        assert await ids(conversation_pb2.MESSAGE_VIEW_ALL) == "abx"
        for view, message_id, reason in (
            (conversation_pb2.MESSAGE_VIEW_PATH_TO, "", "FIELD_REQUIRED"),
            (conversation_pb2.MESSAGE_VIEW_ALL, "a", "FIELD_INVALID"),
            (conversation_pb2.MESSAGE_VIEW_PATH_TO, "nobody", "MESSAGE_NOT_FOUND"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ids(view, message_id)
            assert told(caught.value).reason == reason


async def test_messages_travel_several_to_a_response(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        many = [message_pb2.Message(text="x" * 1000) for _ in range(200)]
        big = [message_pb2.Message(text="y" * 200_000)]
        request = conversation_pb2.CreateConversationRequest(conversation_id="c", messages=many + big + many)
        await client.conversations.CreateConversation(request)
        stream = client.conversations.StreamMessages(conversation_pb2.StreamMessagesRequest(conversation_id="c"))
        pages = [page async for page in stream]
    assert [message.text for page in pages for message in page.messages] == [m.text for m in many + big + many]
    assert len(pages) < 20
    assert all(page.ByteSize() <= 64 * 1024 or len(page.messages) == 1 for page in pages)


async def test_a_conversation_is_written_as_text(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        await client.conversations.CreateConversation(create('{"conversation_id": "none"}'))
        await client.conversations.CreateConversation(
            create('{"conversation_id": "one", "messages": [{"text": "hi"}]}')
        )
        await client.conversations.CreateConversation(
            create(
                """{"conversation_id": "two", "messages": [
                    {"id": "u", "text": "hi"}, {"role": "assistant", "text": "yo"},
                    {"id": "t", "tool_use": {"tool_id": "k", "name": "n", "input": {"b": 1, "a": 2}}}]}"""
            )
        )

        async def text(**fields: object) -> str:
            request = conversation_pb2.RenderConversationRequest(**fields)  # type: ignore[arg-type]
            return (await client.conversations.RenderConversation(request)).text

        assert await text(conversation_id="none") == ""
        assert await text(conversation_id="one") == "hi"
        assert await text(conversation_id="two") == "[user]: hi\n[assistant]: yo\n"
        assert (await text(conversation_id="two", include_tools=True)).endswith('[tool-use n]: {"a":2,"b":1}\n')
        assert await text(conversation_id="two", message_id="u") == "[user]: hi"
        geppetto = conversation_pb2.RENDER_FORMAT_GEPPETTO
        assert await text(conversation_id="two", message_id="u", format=geppetto) == "(user): hi"
        assert (
            await text(conversation_id="two", message_id="t")
            == 'ToolUseContent{ToolID: k, Name: n, Input: {"a":2,"b":1}}'
        )


async def test_a_text_too_large_for_a_reply_says_to_stream_the_messages(tmp_path: Path) -> None:
    async with stored(tmp_path, Limits(reply_bytes=10_000)) as client:
        many = [message_pb2.Message(text="é" * 600) for _ in range(9)]
        request = conversation_pb2.CreateConversationRequest(conversation_id="c", messages=many)
        await client.conversations.CreateConversation(request)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.conversations.RenderConversation(
                conversation_pb2.RenderConversationRequest(conversation_id="c")
            )
    error = told(caught.value)
    assert (error.reason, error.facts) == ("RESPONSE_TOO_LARGE", {"limitBytes": "10000"})
    assert "StreamMessages" in error.message


class Text(str):  # noqa: SLOT000  with slots nothing could refer to it weakly
    """A text of which can be told whether anybody keeps it."""


class Pages:
    """A store with pages of tool results, of which it keeps none. Counts those that others keep."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.read = self.most_kept = 0
        self._made: list[weakref.ref[Text]] = []

    async def messages(self, conversation_id: str) -> AsyncGenerator[tuple[Message, ...], None]:
        for _ in range(self._count):
            self.read += 1
            self.most_kept = max(self.most_kept, sum(text() is not None for text in self._made))
            yield (self._message(),)

    def _message(self) -> Message:
        text = Text("x" * 1000)
        self._made.append(weakref.ref(text))
        return Message(Role.TOOL, tool_result=ToolResult("t", text))


async def render(pages: Pages, *, include_tools: bool) -> str:
    async with serve(store=cast("ConversationStore", pages), limits=Limits(reply_bytes=10_000)) as client:
        request = conversation_pb2.RenderConversationRequest(conversation_id="c", include_tools=include_tools)
        return (await client.conversations.RenderConversation(request)).text


async def test_what_is_left_out_of_a_prompt_is_not_kept_to_write_it() -> None:
    pages = Pages(100)
    assert await render(pages, include_tools=False) == ""
    assert pages.most_kept <= 3


async def test_a_prompt_too_large_for_a_reply_is_not_read_to_its_end() -> None:
    pages = Pages(100)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await render(pages, include_tools=True)
    assert told(caught.value).reason == "RESPONSE_TOO_LARGE"
    assert pages.read < 12


async def test_what_the_store_refuses_is_told_by_its_reason(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        await client.conversations.CreateConversation(
            create('{"conversation_id": "c", "messages": [{"id": "a", "text": "a"}]}')
        )
        cases: list[tuple[str, grpc.StatusCode, str]] = [
            (
                '{"conversation_id": "c", "messages": [{"id": "a", "text": "b"}]}',
                grpc.StatusCode.ALREADY_EXISTS,
                "MESSAGE_ID_EXISTS",
            ),
            (
                '{"conversation_id": "c", "messages": [{"parent_id": "p", "text": "b"}]}',
                grpc.StatusCode.NOT_FOUND,
                "MESSAGE_NOT_FOUND",
            ),
            (
                '{"conversation_id": "x", "messages": [{"text": "b"}]}',
                grpc.StatusCode.NOT_FOUND,
                "CONVERSATION_NOT_FOUND",
            ),
            (
                '{"conversation_id": "c", "messages": [{"tool_result": {"tool_id": "k"}}]}',
                grpc.StatusCode.INVALID_ARGUMENT,
                "INVALID_MESSAGE",
            ),
        ]
        for text, code, reason in cases:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.conversations.AppendMessages(append(text))
            error = told(caught.value)
            assert (error.code, error.reason) == (code, reason)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.conversations.CreateConversation(create('{"conversation_id": "c"}'))
        assert (told(caught.value).code, told(caught.value).reason) == (
            grpc.StatusCode.ALREADY_EXISTS,
            "CONVERSATION_EXISTS",
        )
        orphan = append(
            '{"conversation_id": "c", "allow_orphan": true, "messages": [{"tool_result": {"tool_id": "k"}}]}'
        )
        assert (await client.conversations.AppendMessages(orphan)).conversation.message_count == 2
