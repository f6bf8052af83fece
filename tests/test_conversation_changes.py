from __future__ import annotations

import json

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given, reject
from hypothesis import strategies as st

from stepwired import conversation
from stepwired.conversation import sizes
from stepwired.errors import Conflict, InvalidRequest, Reason
from stepwired.events import Image, Json, Message, MessageStatus, Reasoning, Role, ToolResult, ToolUse
from stepwired.limits import Limits
from stepwired.store.codec.values import Unstorable, fill_struct
from tests.growing import Forest, fields, text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)
BLOB = Image(blob_id="sha256:1", name="n")


@pytest.mark.parametrize(
    ("old", "patch", "merged"),
    [  # the examples of RFC 7396, appendix A, whose patch is an object
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_does_what_rfc_7396_says(old: Json, patch: dict[str, Json], merged: Json) -> None:
    assert conversation.merge_patch(old, patch) == merged


@given(OBJECT, OBJECT)
def test_a_merge_changes_neither_side_and_repeating_it_changes_nothing(
    old: dict[str, Json], patch: dict[str, Json]
) -> None:
    before = conversation.compact_json(old), conversation.compact_json(patch)
    once = conversation.merge_patch(old, patch)
    assert (conversation.compact_json(old), conversation.compact_json(patch)) == before
    assert conversation.merge_patch(once, patch) == once
    assert {key for key, value in patch.items() if value is not None} <= set(once)
    assert not {key for key, value in patch.items() if value is None} & set(once)


def test_metadata_is_replaced_unless_it_is_merged_and_then_must_keep_its_limits() -> None:
    limits = Limits(metadata_bytes=24, metadata_keys=3)
    old: dict[str, Json] = {"a": [{"x": 1}]}
    assert conversation.changed(old, {"b": 1}, limits, merge=False) == {"b": 1}
    assert conversation.changed(old, {"b": 1}, limits, merge=True) == {"a": [{"x": 1}], "b": 1}
    # Numbers take little as JSON, and nine bytes each as protobuf.
    patches: list[dict[str, Json]] = [{"b": "äää"}, {"b": 1, "c": 2}, {"a": [1, 1, 1, 1, 1, 1, 1, 1]}]
    for patch in patches:
        with pytest.raises(InvalidRequest) as caught:
            conversation.changed(old, patch, limits, merge=True, path="m")
        assert fields(caught.value) == [("m", Reason.INVALID_METADATA)]


@given(st.dictionaries(st.text(max_size=200), JSON, max_size=5))
def test_sizes_of_metadata_are_what_they_say(value: dict[str, Json]) -> None:
    wire = Struct()
    try:
        fill_struct(wire, value, "metadata")
    except Unstorable:  # NUL
        reject()
    assert sizes.struct_bytes(value) == wire.ByteSize()
    plain = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert sizes.json_bytes(value) >= 0.3 * len(plain.encode())


def test_all_that_a_message_says_is_content() -> None:
    text = "ä" * 50
    for message in (
        Message(text=text),
        Message(role=Role.ASSISTANT, reasoning=Reasoning(text)),
        Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "n", {"deep": [{"a": text}, None, True, 1.5]})),
        Message(role=Role.TOOL, tool_result=ToolResult("t", text)),
    ):
        assert 100 <= conversation.content_bytes(message) <= 150


# --- pictures ---


def test_a_picture_is_content_beside_a_text_and_beside_nothing_else() -> None:
    forest = Forest()
    forest.grow(Message(images=(BLOB,)), Message(text="look", images=(BLOB,)))
    use, result = ToolUse("t", "find", {}), ToolResult("t", "42")
    with pytest.raises(InvalidRequest) as caught:
        forest.grow(
            Message(role=Role.ASSISTANT, images=(BLOB,), tool_use=use),
            Message(role=Role.TOOL, images=(BLOB,), tool_result=result),
        )
    assert [field for field, _ in fields(caught.value)] == ["messages[0]", "messages[1]"]


def test_a_message_with_other_pictures_is_another_and_what_is_known_of_them_does_not_matter() -> None:
    forest = Forest()
    known = Image(blob_id="sha256:1", name="n", media_type="image/png", width=3)
    forest.grow(Message(text="x", id="a", images=(known,)))
    assert forest.grow(Message(text="x", id="a", images=(BLOB,))).new == ()
    for images in ((), (BLOB, BLOB), (Image(blob_id="sha256:2", name="n"),), (Image(uri="u", name="n"),)):
        with pytest.raises(Conflict):
            forest.grow(Message(text="x", id="a", images=images))


# --- imports ---


def test_an_import_keeps_all_that_is_given() -> None:
    given = [
        Message(text="x", id="a", status=MessageStatus.INTERRUPTED, create_time_ns=5, update_time_ns=7),
        Message(role=Role.TOOL, tool_result=ToolResult("never", "42"), id="b", parent_id="a", create_time_ns=3),
        text("root"),
    ]
    growth = conversation.plant(given, now_ns=9, message_limit=3, head_id="b")
    assert [message.parent_id for message in growth.new] == ["", "a", ""]
    assert [message.create_time_ns for message in growth.new] == [5, 3, 9]
    assert [message.update_time_ns for message in growth.new] == [7, 3, 9]
    assert growth.new[0].status is MessageStatus.INTERRUPTED
    assert growth.head_id == "b"
    assert conversation.plant(given, now_ns=9, message_limit=3).head_id == "root"
    assert conversation.plant([], now_ns=9, message_limit=3).head_id == ""


def test_an_import_as_a_line_makes_each_follow_the_one_before_it() -> None:
    growth = conversation.plant(
        [Message(text="x"), text("b"), Message(text="y")], now_ns=9, message_limit=3, as_line=True
    )
    first, second, third = growth.new
    assert (first.parent_id, second.parent_id, third.parent_id) == ("", first.id, "b")
    assert growth.head_id == third.id


def test_all_faults_of_an_import_are_told_at_once() -> None:
    given = [text("a", parent_id="b"), text("b", parent_id="no"), text("b"), Message(), text("c", parent_id="c")]
    with pytest.raises(InvalidRequest) as caught:
        conversation.plant(given, now_ns=9, message_limit=2, head_id="z")
    assert {field for field, _ in fields(caught.value)} == {
        "messages",
        "messages[0].parent_id",
        "messages[1].parent_id",
        "messages[2].id",
        "messages[3]",
        "messages[4].parent_id",
        "conversation.head_id",
    }
