"""Conversations as files: what each format keeps, and what is answered to files that are none."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwire.v1 import message_pb2
from stepwired.conversation import Conversation
from stepwired.errors import InvalidRequest, Reason
from stepwired.events import Image, Json, Message, MessageStatus, Reasoning, Role, ToolResult, ToolUse
from stepwired.limits import Limits
from stepwired.rpc.convert.file_values import plain_url
from stepwired.rpc.convert.files import GUIDE_JSON, OPENAI_MESSAGES, PROTO_JSON, FileWriter, ReadFile, read_file

LIMITS = Limits()

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
said = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
names = st.text("abcXYZ019._:-", min_size=1, max_size=12)
numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e15, 1e15)
values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=6,
)
objects = st.dictionaries(texts, values, max_size=3)
times_ns = st.integers(1, 253_402_300_799 * 10**9)

pictures = st.builds(
    Image,
    uri=st.sampled_from(["https://example.com/a.png", "http://a.b/c?d=1"]),
    name=texts,
    media_type=st.sampled_from(["", "image/png"]),
    detail=st.sampled_from(["auto", "low", "high"]),
) | st.builds(
    Image,
    blob_id=st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format),
    name=texts,
    detail=st.sampled_from(["auto", "low", "high"]),
)
chats = st.builds(Message, role=st.sampled_from(Role), text=said, images=st.lists(pictures, max_size=2).map(tuple))
thoughts = st.builds(
    Message,
    role=st.just(Role.ASSISTANT),
    text=texts,
    reasoning=st.builds(Reasoning, texts, st.binary(max_size=8), texts),
)
uses = st.builds(
    Message,
    role=st.just(Role.ASSISTANT),
    tool_use=st.builds(ToolUse, names, names, objects, st.sampled_from(["function", "x"])),
)
results = st.builds(Message, role=st.just(Role.TOOL), tool_result=st.builds(ToolResult, names, texts, st.booleans()))


def normal(value: Any) -> Any:
    """Integral numbers as they come back: JSON has one kind of number."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [normal(item) for item in value]
        case dict():
            return {key: normal(item) for key, item in value.items()}
    return value


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """A tree of complete messages, parents before children."""
    made: list[Message] = []
    for index, message in enumerate(draw(st.lists(chats | thoughts | uses | results, max_size=8))):
        parents = [""] if not made else [other.id for other in made]
        use = message.tool_use
        made.append(
            replace(
                message,
                tool_use=use and replace(use, input=normal(use.input)),
                id=f"m{index}",
                parent_id=draw(st.sampled_from(parents)),
                metadata=normal(draw(objects)),
                status=draw(st.sampled_from(MessageStatus)),
                create_time_ns=draw(times_ns),
                update_time_ns=draw(times_ns),
            )
        )
    return made


def written(kind: int, messages: Iterable[Message], conversation: Conversation | None = None) -> bytes:
    writer = FileWriter(kind, plain_url)
    middle = b"".join([writer.add(message) for message in messages])
    return writer.begin(conversation or Conversation("c")) + middle + writer.end()


def read(raw: bytes | str, kind: int = 0) -> ReadFile:
    return read_file(raw.encode() if isinstance(raw, str) else raw, kind, LIMITS)


@settings(max_examples=200, deadline=None)
@given(conversations(), texts, objects, times_ns)
def test_proto_json_loses_nothing(messages: list[Message], title: str, metadata: dict[str, Json], time_ns: int) -> None:
    head_id = messages[-1].id if messages else ""
    conversation = Conversation("c", title, head_id, 1, normal(metadata), time_ns)
    raw = written(PROTO_JSON, messages, conversation)
    for kind in (PROTO_JSON, 0):
        assert read(raw, kind) == ReadFile(conversation, tuple(messages), not any(m.parent_id for m in messages))
    shown = json.loads(raw)
    assert [json_format.ParseDict(item, message_pb2.Message()).id for item in shown["messages"]] == [
        m.id for m in messages
    ]


@settings(max_examples=200, deadline=None)
@given(conversations())
def test_the_guides_json_loses_only_what_it_cannot_say(messages: list[Message]) -> None:
    messages = [message for message in messages if message.text or not message.reasoning]

    def kept(message: Message) -> Message:
        result = message.tool_result and replace(message.tool_result, is_error=False)
        return replace(message, reasoning=None, status=MessageStatus.COMPLETE, tool_result=result)

    raw = written(GUIDE_JSON, messages)
    for kind in (GUIDE_JSON, 0) if messages else (GUIDE_JSON,):
        assert read(raw, kind).messages == tuple(map(kept, messages))


@settings(max_examples=200, deadline=None)
@given(conversations())
def test_openai_messages_lose_only_what_they_cannot_say(messages: list[Message]) -> None:
    def kept(message: Message) -> Message:
        use = message.tool_use and replace(message.tool_use, tool_type="function")
        images = tuple(replace(image, name="", media_type="") for image in message.images)
        result = message.tool_result and replace(message.tool_result, is_error=False)
        return Message(message.role, message.text, None, use, result, images)

    sayable = [m for m in messages if m.text or m.images or m.tool_use or m.tool_result]
    raw = written(OPENAI_MESSAGES, messages)
    file = read(raw, OPENAI_MESSAGES)
    assert file.messages == tuple(map(kept, sayable))
    assert file.as_line


def test_the_guides_json_is_that_of_the_guide() -> None:
    image = Image(uri="https://a/b.png", name="b", media_type="image/png", detail="low")
    common = {"parent_id": "p", "create_time_ns": 10**18 + 5, "update_time_ns": 10**18, "metadata": {"a": 1}}
    made: list[Message] = [
        Message(text="hi", images=(image,), id="1", **common),  # type: ignore[arg-type]
        Message(Role.ASSISTANT, tool_use=ToolUse("t", "find", {"q": "x"}), id="2", **common),  # type: ignore[arg-type]
        Message(Role.TOOL, tool_result=ToolResult("t", "r"), id="3", **common),  # type: ignore[arg-type]
    ]
    same = {
        "parentID": "p",
        "time": "2001-09-09T01:46:40.000000005Z",
        "lastUpdate": "2001-09-09T01:46:40Z",
        "metadata": {"a": 1},
    }
    picture = {"imageURL": "https://a/b.png", "imageName": "b", "mediaType": "image/png", "detail": "low"}
    assert json.loads(written(GUIDE_JSON, made)) == [
        same | {"id": "1", "type": "chat-message", "role": "user", "text": "hi", "images": [picture]},
        same
        | {"id": "2", "type": "tool-use", "toolID": "t", "name": "find", "input": {"q": "x"}, "toolType": "function"},
        same | {"id": "3", "type": "tool-result", "toolID": "t", "result": "r"},
    ]


def test_tool_uses_that_follow_each_other_are_one_message_for_openai() -> None:
    made = [
        Message(text="?"),
        Message(Role.ASSISTANT, "I look."),
        Message(Role.ASSISTANT, tool_use=ToolUse("a", "find", {"q": 1})),
        Message(Role.ASSISTANT, tool_use=ToolUse("b", "find", {})),
        Message(Role.TOOL, tool_result=ToolResult("a", "1")),
        Message(Role.ASSISTANT, tool_use=ToolUse("c", "find", {})),
    ]

    def call(name: str, arguments: str) -> dict[str, Any]:
        return {"id": name, "type": "function", "function": {"name": "find", "arguments": arguments}}

    assert json.loads(written(OPENAI_MESSAGES, made)) == [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "I look.", "tool_calls": [call("a", '{"q":1}'), call("b", "{}")]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "assistant", "content": None, "tool_calls": [call("c", "{}")]},
    ]


def test_what_others_write_is_read() -> None:
    file = read(
        """[
        {"role": "developer", "content": "S", "name": "x"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}}]},
        {"role": "assistant", "content": null, "refusal": "no", "annotations": []},
        {"role": "assistant", "tool_calls": [
            {"id": "t", "type": "function", "function": {"name": "n", "arguments": ""}}]},
        {"role": "tool", "tool_call_id": "t", "content": [{"type": "text", "text": "r"}]}
    ]"""
    )
    system, user, refusal, use, result = file.messages
    assert (system.role, system.text) == (Role.SYSTEM, "S")
    assert (user.text, user.images) == ("ab", (Image(data=b"hi", detail="low"),))
    assert (refusal.role, refusal.text) == (Role.ASSISTANT, "no")
    assert use.tool_use == ToolUse("t", "n", {})
    assert result.tool_result == ToolResult("t", "r")


def test_the_nil_uuid_is_no_parent() -> None:
    raw = '[{"type": "chat-message", "text": "hi", "id": "a", "parentID": "00000000-0000-0000-0000-000000000000"}]'
    assert read("\ufeff" + raw).messages[0].parent_id == ""


GUIDE_CHAT = {"type": "chat-message", "role": "user", "text": "x"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a list of messages is missing"),
        ("[", "no JSON"),
        ("[{]", "no JSON"),
        ('[{"role": "user"', "no end"),
        ('[{"role": "user", "content": "x"}', "a comma is missing"),
        ('[{"role": "user", "content": "x"},]', "no JSON"),
        ('[{"role": "user", "content": "x"}] x', "something follows"),
        ('[{"role": "user", "content": "\ud83d"}]'.encode("utf-8", "surrogatepass"), "no JSON"),
        (r'[{"role": "user", "content": "\ud83d"}]', "no JSON"),
        ('[{"role": "user", "content": NaN}]', "no JSON"),
        ("[" * 300 + "]" * 300, "nested too deep"),
        ("[1]", "[0]: must be an object, and is a number"),
        ('[{"role": "user", "content": 1}]', "[0].content: must be a string, and is a number"),
        ('[{"role": "banana", "content": "x"}]', "[0].role"),
        ('[{"role": "user", "content": "a\\u0000"}]', "[0].text: has a NUL"),
        ('[{"role": "user", "content": [{"type": "input_audio"}]}]', "[0].content[0].type: `input_audio` is none of"),
        ('[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a.png"}}]}]', "[0].images[0].uri"),
        (
            '[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:;base64,?"}}]}]',
            "damaged base64",
        ),
        (
            '[{"role": "assistant", "tool_calls": [{"id": "t", "function": {"name": "n", "arguments": "["}}]}]',
            "is no JSON",
        ),
        (
            '[{"role": "assistant", "tool_calls": [{"id": "t", "function": {"name": "n", "arguments": "1"}}]}]',
            "an object",
        ),
        ('[{"role": "assistant", "tool_calls": [{"function": {"name": "n"}}]}]', "[0].tool_use.tool_id: is needed"),
        (json.dumps([GUIDE_CHAT, {"type": "other"}]), "[1].type: `other` must be one of"),
        (json.dumps([GUIDE_CHAT | {"time": "yesterday"}]), "[0].time: is no time"),
        (json.dumps([GUIDE_CHAT | {"metadata": [1]}]), "[0].metadata: must be an object, and is a list"),
        (json.dumps([GUIDE_CHAT | {"metadata": {"a": 2**53 + 1}}]), "[0].metadata.a: an integer beyond 2^53-1"),
        (json.dumps([GUIDE_CHAT | {"metadata": {"a": 10**400}}]), "[0]"),
        ('{"messages": [{"text": 1}]}', "messages[0]: is no stepwire.v1.Message in proto JSON"),
        ('{"messages": [{"txt": "x"}]}', "it has no field `txt`"),
        ('{"messages": [{"createTime": "0000-01-01T00:00:00Z"}]}', "messages[0]"),
        ('{"conversation": {"id": "a b"}}', "conversation.id"),
        ('{"conversation": [], "messages": []}', "conversation: must be an object"),
        ('{"other": 1}', "other: is unknown here"),
    ],
)
def test_a_file_that_is_none_is_refused_and_told_where(text: str | bytes, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(text)
    assert caught.value.reason is Reason.INVALID_CONVERSATION
    assert said in str(caught.value)


@pytest.mark.parametrize(("text", "kind"), [("[]", PROTO_JSON), ("{}", GUIDE_JSON), ("{}", OPENAI_MESSAGES)])
def test_a_file_of_another_format_than_it_was_said_to_be_is_refused(text: str, kind: int) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(text, kind)
    assert caught.value.reason is Reason.INVALID_CONVERSATION


def test_an_empty_file_of_each_format_is_a_conversation_without_messages() -> None:
    for kind in (PROTO_JSON, GUIDE_JSON, OPENAI_MESSAGES):
        assert read(written(kind, []), kind).messages == ()


def test_so_many_faults_are_told_and_no_more() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(json.dumps([{"role": "banana", "content": "x"}] * 5000))
    assert len(caught.value.violations) == 100


def test_one_message_too_many_is_refused() -> None:
    limits = Limits(conversation_messages=3)
    raw = json.dumps([{"role": "user", "content": "x"}] * 4).encode()
    with pytest.raises(InvalidRequest, match="one more than the 3"):
        read_file(raw, 0, limits)
    assert len(read_file(raw, 0, Limits(conversation_messages=4)).messages) == 4
