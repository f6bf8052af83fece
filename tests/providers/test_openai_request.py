"""What is sent."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from stepwired.errors import Reason
from stepwired.events import (
    ChatOptions,
    ChatRequest,
    Image,
    Message,
    Reasoning,
    ResponseFormat,
    Role,
    Tool,
    ToolResult,
    ToolUse,
)
from stepwired.providers.openai_request import chat_body, chat_messages, is_strict
from stepwired.providers.quirks import VENDORS, Quirks, unsupported


def body(**fields: Any) -> dict[str, Any]:
    asked: dict[str, Any] = json.loads(chat_body(ChatRequest(**({"model": "m"} | fields))))
    return asked


def use(tool_id: str, **given: Any) -> Message:
    return Message(Role.ASSISTANT, tool_use=ToolUse(tool_id, "look", given))


def result(tool_id: str, text: str) -> Message:
    return Message(Role.TOOL, tool_result=ToolResult(tool_id, text))


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


SCHEMA = b'{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"integer"}}}'
LOOK = Tool("look", "Looks.", SCHEMA)


def options(quirks: Quirks | None = None, **given: Any) -> dict[str, Any]:
    """What is sent for these options, beside what is always sent."""
    request = ChatRequest("m", messages=(Message(text="hi"),), options=ChatOptions(**given))
    sent: dict[str, Any] = json.loads(chat_body(request, quirks or Quirks()))
    return {name: value for name, value in sent.items() if name not in ("model", "messages", "stream")}


USAGE = {"stream_options": {"include_usage": True}}


def test_tools_are_sent_with_their_schema_byte_for_byte() -> None:
    request = ChatRequest("m", options=ChatOptions(tools=(LOOK,)))
    assert b'"parameters":' + SCHEMA in chat_body(request)
    function = {"name": "look", "description": "Looks.", "parameters": json.loads(SCHEMA)}
    assert options(tools=(LOOK,)) == USAGE | {"tools": [{"type": "function", "function": function}]}
    (sent,) = options(tools=(Tool("bare", strict=True),))["tools"]
    assert sent["function"] == {"name": "bare", "parameters": {"type": "object", "properties": {}}, "strict": True}


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("look", {"type": "function", "function": {"name": "look"}}),
    ],
)
def test_a_choice_of_tools_is_a_word_or_names_one(choice: str, sent: Any) -> None:
    assert options(tools=(LOOK,), tool_choice=choice, parallel_tool_calls=False)["tool_choice"] == sent
    assert options(tools=(LOOK,), parallel_tool_calls=False)["parallel_tool_calls"] is False


def test_a_schema_is_sent_as_it_is_and_as_strict_only_where_it_can_be() -> None:
    strict = b'{"type":"object","properties":{"a":{"type":"null"}},"required":["a"],"additionalProperties":false}'
    request = ChatRequest("m", options=ChatOptions(response_format=ResponseFormat(strict, "thing")))
    assert b'"json_schema":{"name":"thing","schema":' + strict + b',"strict":true}' in chat_body(request)
    sent = options(response_format=ResponseFormat(SCHEMA))["response_format"]
    assert sent == {"type": "json_schema", "json_schema": {"name": "reply", "schema": json.loads(SCHEMA)}}
    assert options(response_format=ResponseFormat())["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize(
    "loose",
    [
        {"type": "array", "items": {}},
        {"type": "object", "properties": {"a": {}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {}}, "required": [], "additionalProperties": False},
        {"type": "object", "properties": {"a": {"default": 1}}, "required": ["a"], "additionalProperties": False},
        {
            "type": "object",
            "properties": {"a": {"anyOf": [{"type": "object"}]}},
            "required": ["a"],
            "additionalProperties": False,
        },
    ],
)
def test_a_schema_that_servers_do_not_take_as_strict_is_not_sent_as_one(loose: Any) -> None:
    assert not is_strict(json.dumps(loose).encode())


def test_where_no_schema_can_be_sent_the_model_is_told_of_it() -> None:
    request = ChatRequest("m", "Be brief.", options=ChatOptions(response_format=ResponseFormat(SCHEMA)))
    sent = json.loads(chat_body(request, VENDORS["deepseek"]))
    assert sent["response_format"] == {"type": "json_object"}
    assert sent["messages"][0]["content"].startswith("Be brief.\n\n")
    assert SCHEMA.decode() in sent["messages"][0]["content"]


def test_further_options_are_sent_as_the_wire_names_them() -> None:
    assert options(reasoning_effort="low", logit_bias=((7, 1.5), (3, -100.0)), top_logprobs=2) == USAGE | {
        "reasoning_effort": "low",
        "logit_bias": {"3": -100.0, "7": 1.5},
        "logprobs": True,
        "top_logprobs": 2,
    }
    assert options(top_logprobs=0) == USAGE | {"logprobs": True}


@pytest.mark.parametrize(
    ("vendor", "given", "sent"),
    [
        ("openai", {"max_tokens": 5}, {"max_completion_tokens": 5} | USAGE),
        ("vllm", {"max_tokens": 5}, {"max_tokens": 5} | USAGE),
        ("mistral", {"max_tokens": 5, "seed": 1}, {"max_tokens": 5, "random_seed": 1}),
        ("openrouter", {"reasoning_effort": "high"}, {"reasoning": {"effort": "high"}} | USAGE),
    ],
)
def test_each_vendor_is_sent_what_it_reads(vendor: str, given: dict[str, Any], sent: dict[str, Any]) -> None:
    assert options(VENDORS[vendor], **given) == sent


def test_what_an_endpoint_has_no_place_for_is_refused_all_at_once() -> None:
    refusal = unsupported(ChatOptions(seed=0, logit_bias=((1, 1.0),), top_p=1.0), VENDORS["deepseek"].unsupported)
    assert refusal is not None
    assert refusal.reason is Reason.MODEL_FEATURE_UNSUPPORTED
    assert [violation.field for violation in refusal.violations] == ["options.logit_bias", "options.seed"]
    assert unsupported(ChatOptions(top_p=1.0), VENDORS["deepseek"].unsupported) is None


def thought(signature: bytes = b"", provider: str = "acme") -> Reasoning:
    return Reasoning("hm", signature, provider)


def test_reasoning_goes_back_beside_tool_calls_to_the_provider_that_made_it() -> None:
    called = Message(Role.ASSISTANT, reasoning=thought(), tool_use=ToolUse("1", "look", {}))
    answered = Message(Role.ASSISTANT, "So.", thought())
    history = [called, result("1", "a"), answered]
    assert ["reasoning_content" in said for said in chat_messages("", history, VENDORS["deepseek"], "acme")] == [
        True,
        False,
        False,
    ]
    for quirks, provider in ((VENDORS["deepseek"], "other"), (Quirks(), "acme")):
        assert not any("reasoning_content" in said for said in chat_messages("", history, quirks, provider))


def test_details_of_reasoning_go_back_byte_for_byte() -> None:
    details = b'[{"type":"reasoning.encrypted","data":"AAAA","index":0}]'
    text = Message(Role.ASSISTANT, "I look.", thought(details))
    request = ChatRequest("m", messages=(text, use("1")))
    assert b'"reasoning_details":' + details in chat_body(request, VENDORS["openrouter"], "acme")
    assert b"reasoning_details" not in chat_body(request, VENDORS["openrouter"], "other")


@pytest.mark.parametrize("signature", [b"", b"}", b'[],"admin":true', b"7", b"[1]", b"\xff"])
def test_a_signature_that_is_none_of_ours_is_not_sent(signature: bytes) -> None:
    request = ChatRequest("m", messages=(Message(Role.ASSISTANT, "a", thought(signature)),))
    sent = json.loads(chat_body(request, VENDORS["openrouter"], "acme"))
    assert sent["messages"] == [{"role": "assistant", "content": "a"}]


def test_where_ids_have_to_be_short_a_use_and_its_result_still_belong_together() -> None:
    long, short = "call_DdmO9pD3xa9XTPNJ32zg2hcA", "abcdef123"
    history = [use(long), use(short), result(long, "a"), result(short, "b")]
    said = chat_messages("", history, VENDORS["mistral"])
    ids = [call["id"] for call in said[0]["tool_calls"]]
    assert ids == [message["tool_call_id"] for message in said[1:]]
    assert ids[1] == short
    assert len(ids[0]) == 9
    assert ids[0].isalnum()
