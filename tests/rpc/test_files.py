"""Conversations as files, over the wire and on a real store."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import grpc
import pytest

from stepwire.v1 import conversation_pb2
from stepwired.errors import InvalidRequest
from stepwired.limits import KIB, MIB, Limits
from stepwired.rpc.convert.files import read_file
from tests.imaging.corpus import drawn, png_of_bytes
from tests.rpc.keeping import Asking, refused, stored

PNG = drawn("PNG", (40, 30))
GUIDE, OPENAI = conversation_pb2.CONVERSATION_FORMAT_GUIDE_JSON, conversation_pb2.CONVERSATION_FORMAT_OPENAI_MESSAGES
ALL = conversation_pb2.MESSAGE_VIEW_ALL

MESSAGES: list[dict[str, Any]] = [
    {"id": "s", "role": "system", "text": "S", "create_time": "2024-02-29T12:00:00.000000001Z"},
    {"id": "u", "text": "look", "metadata": {"n": 1}, "images": [{"data": b64encode(PNG).decode(), "name": "p"}]},
    {"id": "r", "role": "assistant", "text": "hm", "reasoning": {"text": "why", "signature": "AAE="}},
    {"id": "t", "tool_use": {"tool_id": "k", "name": "find", "input": {"q": "x"}}},
    {"id": "z", "tool_result": {"tool_id": "k", "result": "no", "is_error": True}},
    {"id": "b", "parent_id": "u", "text": "branch"},
]


async def test_proto_json_brings_back_the_whole_tree_under_its_own_id(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        await ask.CreateConversation(conversation_id="c", title="t", metadata={"m": [1]}, messages=MESSAGES)
        await ask.UpdateMessage(conversation_id="c", message_id="r", status=2, metadata={"k": None})
        before, messages = (await ask.GetConversation(conversation_id="c")).conversation, await ask.messages(view=ALL)
        raw = await ask.export()
        file = json.loads(raw)
        assert [message["id"] for message in file["messages"]] == list("surtzb")
        copy = await ask.import_(raw)
        assert copy.id not in {"", "c"}  # the file's own id is taken
        assert await ask.messages(conversation_id=copy.id, view=ALL) == messages
        await ask.DeleteConversation(conversation_id="c")
        back = await ask.import_(raw, format=1)
        assert (back.id, back.title, back.head_id, back.metadata) == ("c", "t", "b", before.metadata)
        assert (back.create_time, back.message_count) == (before.create_time, 6)
        assert await ask.messages(view=ALL) == messages
        named = await ask.import_(raw, conversation_id="d", title="other")
        assert (named.id, named.title) == ("d", "other")
        assert (await refused(ask.import_(raw, conversation_id="d"))).reason == "CONVERSATION_EXISTS"


async def test_a_file_with_its_pictures_needs_nothing_of_the_store_it_came_from(tmp_path: Path) -> None:
    large = png_of_bytes(5 * MIB)
    for kind in (1, GUIDE, OPENAI):
        here, there = tmp_path / f"{kind}-here", tmp_path / f"{kind}-there"
        async with stored(here) as client:
            ask = Asking(client)
            image = await ask.upload(large)
            pictures = [{"text": "large", "images": [{"blob_id": image.blob_id}]}]
            await ask.CreateConversation(conversation_id="c", messages=[*MESSAGES[:2], *pictures])
            whole = await ask.export(format=kind, image_bytes=True)
            bare = await ask.export(format=kind)
        assert len(bare) < 2000
        async with stored(there) as client:
            ask = Asking(client)
            assert (await refused(ask.import_(bare))).reason == "BLOB_NOT_FOUND"
            made = await ask.import_(whole, format=kind)
            shown = await ask.messages(conversation_id=made.id)
            assert [message.images[0].size_bytes for message in shown[1:]] == [len(PNG), len(large)]
            assert (await ask.download(shown[2].images[0].blob_id))[1] == large


async def test_other_formats_show_the_path_to_the_head(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        await ask.CreateConversation(conversation_id="c", messages=MESSAGES)
        guide = json.loads(await ask.export(format=GUIDE))
        assert [(item["id"], item["parentID"]) for item in guide] == [("s", ""), ("u", "s"), ("b", "u")]
        assert len(json.loads(await ask.export(format=GUIDE, view=ALL))) == 6
        openai = json.loads(await ask.export(format=OPENAI, image_bytes=True))
        assert [item["role"] for item in openai] == ["system", "user", "user"]
        url = openai[1]["content"][1]["image_url"]["url"]
        assert b64decode(url.removeprefix("data:image/png;base64,")) == PNG
        for kind, raw in ((GUIDE, guide), (OPENAI, openai)):
            made = await ask.import_(json.dumps(raw).encode())
            assert [message.text for message in await ask.messages(conversation_id=made.id)] == ["S", "look", "branch"]
            again = json.loads(await ask.export(conversation_id=made.id, format=kind, image_bytes=kind == OPENAI))
            assert [{**item, "lastUpdate": ""} for item in again] == [{**item, "lastUpdate": ""} for item in raw]


def test_each_message_of_a_file_may_have_as_many_values_as_one_request() -> None:
    def file(values: int, count: int) -> bytes:
        use = {"toolUse": {"toolId": "t", "name": "n", "input": {"a": [1] * values}}}
        return json.dumps({"messages": [use] * count}).encode()

    assert len(read_file(file(60_000, 3), 0, Limits()).messages) == 3
    with pytest.raises(InvalidRequest, match="values"):
        read_file(file(100_000, 1), 0, Limits())


async def test_a_part_of_a_conversation_is_a_file_too(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        await ask.CreateConversation(conversation_id="c", messages=MESSAGES)
        for view, head_id in ((conversation_pb2.MESSAGE_VIEW_LEFTMOST, "z"), (1, "b")):
            made = await ask.import_(await ask.export(view=view))
            assert (made.head_id, made.message_count) == (head_id, 5 if head_id == "z" else 3)


async def test_an_empty_conversation_is_a_file_too(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        await ask.CreateConversation(conversation_id="c", title="t")
        for kind in (1, GUIDE, OPENAI):
            made = await ask.import_(await ask.export(format=kind), format=kind)
            assert (made.message_count, made.title) == (0, "t" if kind == 1 else "")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "a list of messages is missing"),
        (b'[{"role": "user", "content": "x"}', "a comma is missing"),
        (b'[{"role": "banana", "content": "x"}]', "banana"),
        (b'{"messages": [{"id": "a", "text": "x", "parentId": "b"}]}', "b"),
        (b'{"messages": [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]}', "a"),
    ],
)
async def test_a_file_that_is_none_leaves_nothing(tmp_path: Path, raw: bytes, said: str) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        error = await refused(ask.import_(raw))
        assert error.code in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
        assert said in error.message
        assert not (await ask.ListConversations()).conversations


async def test_a_file_may_be_as_large_as_the_limit_and_no_larger(tmp_path: Path) -> None:
    raw = b"[" + b",".join([json.dumps({"role": "user", "content": "x" * 50_000}).encode()] * 20)
    raw += b" " * (MIB + 300 * KIB - len(raw) - 1) + b"]"
    async with stored(tmp_path, Limits(import_bytes=len(raw))) as client:
        ask = Asking(client)
        assert (await ask.import_(raw)).message_count == 20
        error = await refused(ask.import_(raw + b" "))
        assert (error.reason, error.fields) == ("FIELD_INVALID", [("chunk", "FIELD_INVALID")])


async def test_what_is_asked_wrongly_is_refused(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        assert (await refused(ask.export(conversation_id="nobody"))).reason == "CONVERSATION_NOT_FOUND"
        error = await refused(ask.import_(b"[]", conversation_id="a b"))
        assert error.fields == [("conversation_id", "FIELD_INVALID")]
