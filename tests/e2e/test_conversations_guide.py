"""Where the guide and its implementation differed: one test for each decision that concerns conversations."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.protobuf import timestamp_pb2

from stepwire.v1 import chat_pb2, chat_pb2_grpc, conversation_pb2, message_pb2
from tests.e2e.conftest import Scripted
from tests.imaging.corpus import drawn, png_of_bytes
from tests.rpc.keeping import Asking, refused

PNG = drawn("PNG", (40, 30))
LIMIT = 20 * 1024 * 1024
Append = conversation_pb2.AppendMessagesRequest
GUIDE = conversation_pb2.CONVERSATION_FORMAT_GUIDE_JSON

Decision = Callable[[Asking, Scripted], Awaitable[None]]
DECISIONS: dict[int, Decision] = {}


def row(number: int) -> Callable[[Decision], Decision]:
    """A row of the table of differences."""

    def add(decision: Decision) -> Decision:
        DECISIONS[number] = decision
        return decision

    return add


async def start(ask: Asking, *messages: dict[str, Any]) -> None:
    await ask.CreateConversation(conversation_id="c", messages=messages)


@row(1)
async def any_short_word_is_an_id_and_a_uuid_the_default(ask: Asking, _: Scripted) -> None:
    await start(ask, {"id": "custom-id", "text": "a"}, {"text": "b"}, {"id": "A.b_c:9-" + "x" * 120, "text": "c"})
    first, second, _third = await ask.messages()
    assert first.id == "custom-id"
    assert len(second.id) == 36
    error = await refused(ask.AppendMessages(conversation_id="c", messages=[{"id": "x" * 129, "text": "a"}]))
    assert error.fields == [("messages[0].id", "FIELD_INVALID")]


@row(2)
async def the_parent_is_honoured_and_an_unknown_one_refused(ask: Asking, _: Scripted) -> None:
    await start(ask, {"id": "a", "text": "a"}, {"id": "b", "text": "b"}, {"id": "x", "text": "x", "parent_id": "a"})
    assert await ask.ids() == "a x"
    error = await refused(ask.AppendMessages(conversation_id="c", messages=[{"text": "y", "parent_id": "nobody"}]))
    assert (error.code.name, error.reason) == ("NOT_FOUND", "MESSAGE_NOT_FOUND")


@row(3)
async def a_bad_time_is_refused_by_its_path(ask: Asking, _: Scripted) -> None:
    await start(ask, {"text": "a", "create_time": "2024-02-29T12:00:00.5+01:00"})
    assert (await ask.messages())[0].create_time.ToJsonString() == "2024-02-29T11:00:00.500Z"
    too_late = message_pb2.Message(text="b", create_time=timestamp_pb2.Timestamp(seconds=253_402_300_800))
    error = await refused(ask.stub.AppendMessages(Append(conversation_id="c", messages=[too_late])))
    assert error.fields == [("messages[0].create_time", "INVALID_TIME")]
    error = await refused(ask.import_(b'[{"type": "chat-message", "text": "x", "time": "tomorrow"}]'))
    assert error.fields == [("[0].time", "INVALID_CONVERSATION")]


@row(4)
async def an_unknown_role_is_refused(ask: Asking, _: Scripted) -> None:
    await start(ask, *({"role": role, "text": "x"} for role in ("system", "user", "assistant", "tool")))
    error = await refused(ask.AppendMessages(conversation_id="c", messages=[{"role": "banana", "text": "x"}]))
    assert error.fields == [("messages[0].role", "INVALID_MESSAGE")]


@row(5)
async def a_view_has_brackets_as_the_guide_says_or_parentheses_when_asked(ask: Asking, _: Scripted) -> None:
    await start(ask, {"id": "m", "text": "hi\n"}, {"id": "f", "text": "```x"})
    for message_id, style, text in (("m", 0, "[user]: hi"), ("m", 2, "(user): hi"), ("f", 2, "(user): \n```x")):
        shown = await ask.RenderConversation(conversation_id="c", message_id=message_id, format=style)
        assert shown.text == text
    assert (await ask.messages())[1].text == "```x"  # looking at it changes nothing


@row(6)
async def messages_have_the_shape_of_the_guide(ask: Asking, _: Scripted) -> None:
    await start(ask, {"id": "m", "text": "hi"}, {"tool_use": {"tool_id": "t", "name": "n", "input": {"q": "x"}}})
    chat, use = json.loads(await ask.export(format=GUIDE))
    common = {"id", "parentID", "time", "lastUpdate", "metadata", "type"}
    assert (set(chat), chat["type"]) == (common | {"role", "text"}, "chat-message")
    assert (set(use), use["type"]) == (common | {"toolID", "name", "input", "toolType"}, "tool-use")


@row(7)
async def metadata_is_replaced_or_merged_and_the_time_noted(ask: Asking, _: Scripted) -> None:
    await start(ask, {"id": "m", "text": "hi", "metadata": {"a": 1}})
    before = (await ask.messages())[0].update_time.ToNanoseconds()
    changed = (await ask.UpdateMessage(conversation_id="c", message_id="m", metadata={"b": 2})).message
    assert dict(changed.metadata) == {"b": 2}
    assert changed.update_time.ToNanoseconds() > before
    merged = await ask.UpdateMessage(conversation_id="c", message_id="m", metadata={"c": 3}, metadata_update=2)
    assert dict(merged.message.metadata) == {"b": 2, "c": 3}
    error = await refused(ask.UpdateMessage(conversation_id="c", message_id="nobody", metadata={}))
    assert error.reason == "MESSAGE_NOT_FOUND"


@row(8)
async def a_picture_is_what_it_decodes_to_and_an_address_a_reference(ask: Asking, _: Scripted) -> None:
    text = b64encode(b"text in a file called .png").decode()
    error = await refused(ask.CreateConversation(messages=[{"images": [{"data": text, "name": "a.png"}]}]))
    assert error.reason == "UNSUPPORTED_IMAGE_FORMAT"
    address = {"uri": "https://example.invalid/b.bmp?x=1"}
    await start(ask, {"images": [{"data": b64encode(PNG).decode(), "name": "a.txt"}, address]})
    kept = (await ask.messages())[0].images
    assert (kept[0].media_type, kept[1].uri) == ("image/png", address["uri"])
    error = await refused(ask.CreateConversation(messages=[{"images": [address | {"fetch": True}]}]))
    assert error.reason == "IMAGE_URL_UNAVAILABLE"


@row(9)
async def the_limit_is_twenty_times_1024_times_1024(ask: Asking, _: Scripted) -> None:
    assert (await ask.upload(png_of_bytes(LIMIT))).size_bytes == LIMIT
    assert (await refused(ask.upload(png_of_bytes(LIMIT + 1)))).reason == "IMAGE_TOO_LARGE"


@row(10)
async def a_tool_result_without_its_use_is_refused_unless_allowed(ask: Asking, _: Scripted) -> None:
    await start(ask, {"text": "hi"})
    orphan = {"conversation_id": "c", "messages": [{"tool_result": {"tool_id": "t", "result": "r"}}]}
    error = await refused(ask.AppendMessages(**orphan))
    assert error.fields == [("messages[0].tool_result.tool_id", "INVALID_MESSAGE")]
    assert (await ask.AppendMessages(**orphan, allow_orphan=True)).conversation.message_count == 2


@row(11)
async def the_whole_conversation_can_be_had_and_put_back(ask: Asking, _: Scripted) -> None:
    await start(ask, {"id": "a", "text": "a"}, {"id": "b", "text": "b"})
    file = await ask.export()
    assert json.loads(file)["conversation"]["headId"] == "b"
    copy = await ask.import_(file)
    assert await ask.messages(conversation_id=copy.id) == await ask.messages()


@row(19)
async def messages_alone_are_a_conversation(_: Asking, scripted: Scripted) -> None:
    async with scripted.program.channel() as channel:
        messages = [{"role": "system", "text": "S"}, {"role": "user", "text": "U"}]
        reply = await chat_pb2_grpc.ChatServiceStub(channel).Chat(chat_pb2.ChatRequest(messages=messages))
    assert reply.text == "Hello"
    sent = json.loads(scripted.provider.requests[-1].body)["messages"]
    assert sent == [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]


@row(21)
async def what_is_appended_is_in_the_conversation_whatever_branch_it_lies_on(ask: Asking, _: Scripted) -> None:
    await start(ask, {"id": "s", "role": "system", "text": "S"}, {"id": "u1", "text": "U1"})
    await ask.AppendMessages(conversation_id="c", messages=[{"id": "u2", "text": "U2", "parent_id": "s"}])
    await ask.AppendMessages(conversation_id="c", messages=[{"id": "r", "role": "assistant", "text": "R"}])
    assert await ask.ids() == "s u2 r"
    assert (await ask.RenderConversation(conversation_id="c")).text == "[system]: S\n[user]: U2\n[assistant]: R\n"
    assert await ask.ids(view=conversation_pb2.MESSAGE_VIEW_LEFTMOST) == "s u1"


@pytest.mark.parametrize("number", DECISIONS, ids=lambda number: f"{number}-{DECISIONS[number].__name__}")
async def test_each_difference_is_decided_as_written(scripted: Scripted, number: int) -> None:
    async with scripted.program.channel() as channel:
        await DECISIONS[number](Asking.of(channel), scripted)


def test_every_difference_that_concerns_conversations_is_here() -> None:
    assert set(DECISIONS) == {*range(1, 12), 19, 21}
