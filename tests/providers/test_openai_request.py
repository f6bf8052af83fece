"""What is sent."""

from __future__ import annotations

import base64
import json
from typing import Any

from stepwired.events import (
    ChatOptions,
    ChatRequest,
    Image,
    Message,
    Reasoning,
    Role,
    ToolResult,
    ToolUse,
)
from stepwired.providers.wires.openai.request import chat_body, chat_messages


def body(**fields: Any) -> dict[str, Any]:
    asked: dict[str, Any] = json.loads(chat_body(ChatRequest(**({"model": "m"} | fields))))
    return asked


def use(tool_id: str, **given: Any) -> Message:
    return Message(Role.ASSISTANT, tool_use=ToolUse(tool_id, "look", given))


def result(tool_id: str, text: str) -> Message:
    return Message(Role.TOOL, tool_result=ToolResult(tool_id, text))


def test_a_text_of_a_tool_that_answers_no_call_is_said_by_the_user() -> None:
    said = chat_messages(
        "", [use("1"), result("1", "dark"), Message(Role.TOOL, text="12 degrees"), Message(text="So?")]
    )
    assert [(each["role"], each["content"]) for each in said] == [
        ("assistant", None),
        ("tool", "dark"),
        ("user", "12 degrees"),
        ("user", "So?"),
    ]


def test_options_that_are_unset_are_not_sent() -> None:
    assert body(messages=(Message(text="hi"),)) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_options_that_are_set_are_sent_zeros_too() -> None:
    options = ChatOptions(0.0, 0.5, 7, ("a",), 0, 0.0, -1.0)
    sent = body(options=options)
    assert {name: sent[name] for name in sent if name not in ("model", "messages", "stream", "stream_options")} == {
        "temperature": 0.0,
        "top_p": 0.5,
        "max_tokens": 7,
        "stop": ["a"],
        "seed": 0,
        "presence_penalty": 0.0,
        "frequency_penalty": -1.0,
    }


def test_the_system_text_comes_first() -> None:
    said = chat_messages("Be brief.", [Message(text="hi"), Message(Role.ASSISTANT, "Hello"), Message(text="And?")])
    assert [(message["role"], message["content"]) for message in said] == [
        ("system", "Be brief."),
        ("user", "hi"),
        ("assistant", "Hello"),
        ("user", "And?"),
    ]


def test_tool_uses_in_a_row_are_one_message_with_their_results_behind() -> None:
    said = chat_messages("", [use("1"), use("2"), Message(text="wait"), result("2", "b"), result("1", "a")])
    assert [message["role"] for message in said] == ["assistant", "tool", "tool", "user"]
    calls: Any = said[0]["tool_calls"]
    assert [call["id"] for call in calls] == ["1", "2"]
    assert [(message["tool_call_id"], message["content"]) for message in said[1:3]] == [("1", "a"), ("2", "b")]


def test_a_result_that_is_an_error_says_so() -> None:
    failed = Message(Role.TOOL, tool_result=ToolResult("1", "no light", is_error=True))
    assert chat_messages("", [failed]) == [{"role": "tool", "tool_call_id": "1", "content": "Error: no light"}]


def test_text_before_a_tool_use_is_part_of_the_same_message() -> None:
    said = chat_messages("", [Message(text="?"), Message(Role.ASSISTANT, "I look."), use("1"), result("1", "a")])
    assert [message["role"] for message in said] == ["user", "assistant", "tool"]
    assert said[1]["content"] == "I look."


def test_two_rounds_of_tools_stay_two_messages() -> None:
    said = chat_messages("", [use("1"), result("1", "a"), use("2"), result("2", "b")])
    assert [message["role"] for message in said] == ["assistant", "tool", "assistant", "tool"]


def told(said: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    return [(message["role"], message["content"]) for message in said]


def test_a_tool_id_that_is_used_again_has_a_result_of_its_own() -> None:
    said = chat_messages("", [use("1"), result("1", "a"), use("1"), result("1", "b")])
    assert told(said) == [("assistant", None), ("tool", "a"), ("assistant", None), ("tool", "b")]


def test_uses_of_one_reply_with_one_id_have_their_results_in_order() -> None:
    said = chat_messages("", [use("1"), use("1"), result("1", "a"), result("1", "b")])
    assert told(said) == [("assistant", None), ("tool", "a"), ("tool", "b")]


def test_a_use_that_was_never_answered_takes_no_result_of_a_later_one() -> None:
    said = chat_messages("", [use("1"), Message(text="Stop."), use("1"), result("1", "b")])
    assert told(said) == [("assistant", None), ("user", "Stop."), ("assistant", None), ("tool", "b")]


def test_a_second_result_is_not_lost() -> None:
    said = chat_messages("", [use("1"), result("1", "a"), result("1", "b")])
    assert told(said) == [("assistant", None), ("tool", "a"), ("tool", "b")]


def test_a_result_that_comes_before_its_use_stays_where_it_is() -> None:
    said = chat_messages("", [result("1", "a"), use("1")])
    assert told(said) == [("tool", "a"), ("assistant", None)]


def test_a_result_without_a_use_stays_where_it_is() -> None:
    said = chat_messages("", [Message(text="a"), result("9", "x"), Message(text="b")])
    assert [message["role"] for message in said] == ["user", "tool", "user"]


def test_hidden_messages_and_reasoning_stay_at_home() -> None:
    hidden = Message(text="no", metadata={"hidden": True})
    thought = Message(Role.ASSISTANT, "yes", Reasoning("hm", b"", "other"))
    assert chat_messages("", [hidden, thought]) == [{"role": "assistant", "content": "yes"}]


def test_equal_requests_give_equal_bytes_whatever_the_order_of_keys() -> None:
    one = ChatRequest("m", messages=(use("1", a=1, b={"c": 2, "d": 3}),))
    other = ChatRequest("m", messages=(use("1", b={"d": 3, "c": 2}, a=1),))
    assert chat_body(one) == chat_body(other)


def test_pictures_are_parts_behind_the_text() -> None:
    pictures = (
        Image(data=b"\x89PNG\xff", media_type="image/png", blob_id="sha256:0", size_bytes=5, name="n"),
        Image(uri='http://x/"a"?b', media_type="image/gif", detail="high"),
    )
    (said,) = body(messages=(Message(text="What?", images=pictures),))["messages"]
    assert said == {
        "role": "user",
        "content": [
            {"type": "text", "text": "What?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBOR/8="}},
            {"type": "image_url", "image_url": {"url": 'http://x/"a"?b', "detail": "high"}},
        ],
    }


def test_a_picture_alone_needs_no_text() -> None:
    (said,) = body(messages=(Message(images=(Image(uri="http://x/", detail="low"),)),))["messages"]
    assert said["content"] == [{"type": "image_url", "image_url": {"url": "http://x/", "detail": "low"}}]


def test_every_byte_of_a_picture_arrives() -> None:
    data = bytes(range(256)) * 3
    (said,) = body(messages=(Message(images=(Image(data=data, media_type="image/webp"),)),))["messages"]
    head, _, rest = said["content"][0]["image_url"]["url"].partition(",")
    assert head == "data:image/webp;base64"
    assert base64.b64decode(rest, validate=True) == data
