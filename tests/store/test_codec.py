from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwire.v1 import conversation_pb2, message_pb2
from stepwired import jsonvalue
from stepwired.conversation import Conversation
from stepwired.errors import Broken, Misconfigured, Reason
from stepwired.events import MAX_SAFE_INTEGER, Message, MessageStatus, Reasoning, Role, ToolResult, ToolUse
from stepwired.store import codec
from stepwired.store.codec.messages import message_proto

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NUMBERS = st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER) | st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda number: not number.is_integer()
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=4)
#: Years 0001 to 9999: more nanoseconds than 64 bits hold.
TIMES = st.integers(-62_135_596_800 * 10**9, 253_402_300_800 * 10**9 - 1)
MESSAGES = st.builds(
    Message,
    role=st.sampled_from(Role),
    text=TEXTS,
    reasoning=st.none() | st.builds(Reasoning, TEXTS, st.binary(max_size=9), TEXTS),
    tool_use=st.none() | st.builds(ToolUse, TEXTS, TEXTS, OBJECTS, TEXTS),
    tool_result=st.none() | st.builds(ToolResult, TEXTS, TEXTS, st.booleans()),
    metadata=OBJECTS,
    status=st.sampled_from(MessageStatus),
    id=TEXTS,
    parent_id=TEXTS,
    create_time_ns=TIMES,
    update_time_ns=TIMES,
)


@given(MESSAGES)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    assert codec.decode_message(codec.encode_message(message)) == message


@given(OBJECTS)
def test_numbers_and_booleans_come_back_with_their_own_type(metadata: dict[str, Any]) -> None:
    read = codec.decode_message(codec.encode_message(Message(text="x", metadata=metadata))).metadata
    # As text, because 1 == 1.0 == True in Python.
    assert json.dumps(read, sort_keys=True) == json.dumps(metadata, sort_keys=True)


@given(OBJECTS, st.integers(0, 100), st.booleans(), st.sampled_from(["metadata", "input"]))
def test_json_of_any_depth_comes_back_or_is_refused(inner: dict[str, Any], depth: int, lists: bool, part: str) -> None:
    value: Any = inner
    for _ in range(depth):
        value = [value] if lists else {"a": value}
    value = {"top": value}
    use = ToolUse("t", "f", value if part == "input" else {})
    message = Message(tool_use=use, metadata=value if part == "metadata" else {})
    try:
        body = codec.encode_message(message)
    except codec.Unstorable:
        assert jsonvalue.fault(value, max_depth=codec.MAX_DEPTH)
    else:
        assert codec.decode_message(body) == message
        # Inside the largest of the messages that carry it, too.
        carried = conversation_pb2.StreamMessagesResponse(messages=[message_proto(message)])
        assert conversation_pb2.StreamMessagesResponse.FromString(carried.SerializeToString()) == carried


@given(st.integers(-(2**80), 2**80) | st.floats() | st.just(10**400))
def test_a_number_comes_back_the_same_or_is_refused(number: float) -> None:
    message = Message(metadata={"n": [number]})
    try:
        body = codec.encode_message(message)
    except codec.Unstorable:
        assert jsonvalue.fault(number, max_depth=1)
    else:
        assert codec.decode_message(body) == message


@given(TEXTS, TEXTS, OBJECTS, TIMES)
def test_a_conversation_comes_back_as_it_was(name: str, title: str, metadata: dict[str, Any], created_ns: int) -> None:
    made = Conversation(name, title, "h", 7, metadata, created_ns, 9, 3)
    body = codec.encode_conversation(made)
    assert codec.decode_conversation(body, head_id="h", revision=7, message_count=3, update_time_ns=9) == made


def test_equal_messages_give_equal_bytes_whatever_the_order_of_their_keys() -> None:
    forth = {f"key{number}": number for number in range(50)}
    back = dict(reversed(forth.items()))
    assert codec.encode_message(Message(metadata=forth)) == codec.encode_message(Message(metadata=back))


def test_bytes_that_are_no_message_are_called_corrupt() -> None:
    with pytest.raises(Broken) as caught:
        codec.decode_message(b"\xff\xff\xff")
    assert caught.value.reason is Reason.STORE_CORRUPT


@pytest.mark.parametrize("newer", [{"role": "critic", "status": 1}, {"role": "user", "status": 77}])
def test_what_a_later_version_wrote_is_refused_and_not_guessed_at(newer: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured) as caught:
        codec.decode_message(message_pb2.Message(id="m", **newer).SerializeToString())
    assert caught.value.reason is Reason.STORE_VERSION_UNSUPPORTED
