"""What the Anthropic wire is sent, and that what it said goes back to it as it came."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from stepwired.errors import Reason
from stepwired.events import ChatOptions, ChatRequest, Image, Message, Reasoning, ResponseFormat, Role, Tool
from stepwired.providers.wires.anthropic.request import messages_body, turns
from tests.providers.wires import refused, replied, request_of, result, use

KIND = "anthropic"
MODEL = "claude-sonnet-4-6"
WEATHER = Tool("get_weather", "The weather", b'{"type":"object","properties":{"b":{},"a":{}}}')
SCHEMA = b'{"type":"object","properties":{"n":{"type":"integer"}},"additionalProperties":false}'


def body(model: str = MODEL, **fields: Any) -> dict[str, Any]:
    asked: dict[str, Any] = json.loads(messages_body(request_of(model, **fields), "acme"))
    return asked


def said(*messages: Message) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(
        json.dumps(turns(messages, "acme"), default=lambda raw: json.loads(bytes(raw)))
    )
    return told


def test_what_is_unset_is_not_sent_but_the_wire_insists_on_a_limit() -> None:
    assert body() == {
        "model": MODEL,
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "stream": True,
    }


def test_what_is_set_is_sent_in_the_words_of_the_wire() -> None:
    sent = body(temperature=0.0, top_p=0.5, max_tokens=7, stop=("a", "b"))
    assert {name: sent[name] for name in ("temperature", "top_p", "max_tokens", "stop_sequences")} == {
        "temperature": 0.0,
        "top_p": 0.5,
        "max_tokens": 7,
        "stop_sequences": ["a", "b"],
    }


def test_all_that_the_system_says_stands_apart_with_blank_lines_between() -> None:
    sent = body(system="Be brief.", messages=(Message(Role.SYSTEM, "Be kind."), Message(text="hi")))
    assert sent["system"] == "Be brief.\n\nBe kind."
    assert [turn["role"] for turn in sent["messages"]] == ["user"]


def test_user_and_assistant_take_turns() -> None:
    told = said(Message(text="a"), Message(text="b"), Message(Role.ASSISTANT, "c"), Message(Role.ASSISTANT, "d"))
    assert [(turn["role"], [block["text"] for block in turn["content"]]) for turn in told] == [
        ("user", ["a", "b"]),
        ("assistant", ["c", "d"]),
    ]


def test_results_come_first_in_their_turn_in_the_order_of_their_calls() -> None:
    told = said(
        Message(text="?"),
        Message(Role.ASSISTANT, "I look."),
        use("1", b=1, a=2),
        use("2"),
        Message(text="Hurry!"),
        result("2", "second"),
        result("1", "", is_error=True),
    )
    assert [turn["role"] for turn in told] == ["user", "assistant", "user"]
    assert told[1]["content"] == [
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "1", "name": "look", "input": {"a": 2, "b": 1}},
        {"type": "tool_use", "id": "2", "name": "look", "input": {}},
    ]
    assert told[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "1", "content": "", "is_error": True},
        {"type": "tool_result", "tool_use_id": "2", "content": "second"},
        {"type": "text", "text": "Hurry!"},
    ]


def test_ids_of_other_providers_are_written_with_letters_that_the_wire_takes() -> None:
    ids = []
    for tool_id in ("functions.look:0", "functions.look/0"):
        told = said(use(tool_id), result(tool_id, "x"))
        assert told[0]["content"][0]["id"] == told[1]["content"][0]["tool_use_id"]
        ids.append(told[0]["content"][0]["id"])
    assert all(re.fullmatch(r"functions_look_0_[0-9a-f]{16}", written) for written in ids)
    assert len(set(ids)) == 2


def test_pictures_go_by_their_bytes_or_their_address_before_the_text() -> None:
    images = (Image(b"png", media_type="image/png"), Image(uri="https://example.org/a.png"))
    assert said(Message(text="What?", images=images))[0]["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cG5n"}},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        {"type": "text", "text": "What?"},
    ]


def test_hidden_messages_and_texts_of_white_space_stay_here() -> None:
    told = said(Message(text="a"), Message(Role.ASSISTANT, " \n"), Message(text="no", metadata={"hidden": True}))
    assert told == [{"role": "user", "content": [{"type": "text", "text": "a"}]}]


@pytest.mark.parametrize(
    ("options", "choice"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": "get_weather"}, {"type": "tool", "name": "get_weather"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": True}, {"type": "auto", "disable_parallel_tool_use": False}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        (
            {"tool_choice": "required", "parallel_tool_calls": False},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_which_tools_have_to_be_called(options: dict[str, Any], choice: Any) -> None:
    sent = body(tools=(WEATHER, Tool("other", strict=True)), **options)
    assert sent.get("tool_choice") == choice
    assert sent["tools"] == [
        {
            "name": "get_weather",
            "input_schema": {"type": "object", "properties": {"b": {}, "a": {}}},
            "description": "The weather",
        },
        {"name": "other", "input_schema": {"type": "object", "properties": {}}, "strict": True},
    ]


def test_tools_that_were_called_are_defined_even_where_none_may_be_called() -> None:
    sent = body(messages=(use("1"), use("2"), result("1", "a"), result("2", "b")))
    assert sent["tools"] == [{"name": "look", "input_schema": {"type": "object", "properties": {}}}]
    assert sent["tool_choice"] == {"type": "none"}


def test_schemas_are_sent_as_they_are_written() -> None:
    request = ChatRequest(MODEL, messages=(Message(text="hi"),), options=ChatOptions(tools=(WEATHER,)))
    assert WEATHER.schema in messages_body(request, "acme")


@pytest.mark.parametrize(
    ("model", "effort", "max_tokens", "thinking", "config", "limit"),
    [
        ("claude-3-7-sonnet-latest", "low", None, {"type": "enabled", "budget_tokens": 4096}, None, 8192),
        ("claude-sonnet-4-20250514", "minimal", None, {"type": "enabled", "budget_tokens": 1024}, None, 5120),
        ("claude-opus-4-1", "high", 8000, {"type": "enabled", "budget_tokens": 6000}, None, 8000),
        ("claude-haiku-4-5", "high", 1366, {"type": "enabled", "budget_tokens": 1024}, None, 1366),
        (MODEL, "high", None, {"type": "adaptive", "display": "summarized"}, {"effort": "high"}, 4096),
        ("claude-opus-5", "xhigh", 9, {"type": "adaptive", "display": "summarized"}, {"effort": "xhigh"}, 9),
        ("claude-opus-5", "none", None, {"type": "disabled"}, None, 4096),
        ("claude-3-5-haiku-latest", "none", None, None, None, 4096),
        ("kimi-k2", "medium", None, {"type": "enabled", "budget_tokens": 10_000}, None, 14_096),
    ],
)
def test_models_are_told_how_much_to_think_in_their_own_way(
    model: str, effort: str, max_tokens: int | None, thinking: Any, config: Any, limit: int
) -> None:
    sent = body(model, reasoning_effort=effort, max_tokens=max_tokens)
    assert (sent.get("thinking"), sent.get("output_config"), sent["max_tokens"]) == (thinking, config, limit)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("claude-3-5-haiku-latest", {"reasoning_effort": "low"}),
        (MODEL, {"reasoning_effort": "xhigh"}),
        ("claude-opus-5", {"reasoning_effort": "minimal"}),
        (MODEL, {"reasoning_effort": "low", "response_format": ResponseFormat()}),
        ("claude-opus-4-1", {"reasoning_effort": "low", "response_format": ResponseFormat(SCHEMA)}),
    ],
)
def test_what_a_model_cannot_be_told_is_refused(model: str, options: dict[str, Any]) -> None:
    refusal = refused(KIND, request_of(model, **options))
    assert refusal is not None
    assert refusal.reason is Reason.MODEL_FEATURE_UNSUPPORTED
    assert [violation.field for violation in refusal.violations] == [f"options.{list(options)[-1]}"]
    assert refusal.metadata == {"model": model, "feature": list(options)[-1]}


@pytest.mark.parametrize("max_tokens", [1, 1000, 1365])
def test_a_model_that_thinks_in_tokens_is_not_left_too_few_for_its_reply(max_tokens: int) -> None:
    refusal = refused(KIND, request_of("claude-haiku-4-5", reasoning_effort="low", max_tokens=max_tokens))
    assert refusal is not None
    assert refusal.metadata["feature"] == "reasoning_effort"
    assert {"1024", str(max_tokens)} <= set(str(refusal).split())
    assert refused(KIND, request_of("claude-haiku-4-5", reasoning_effort="none", max_tokens=max_tokens)) is None
    assert refused(KIND, request_of(MODEL, reasoning_effort="low", max_tokens=max_tokens)) is None


def test_a_schema_is_asked_for_natively_where_the_model_can() -> None:
    sent = body(response_format=ResponseFormat(SCHEMA), reasoning_effort="low", tools=(WEATHER,))
    assert sent["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": json.loads(SCHEMA)}}
    assert [tool["name"] for tool in sent["tools"]] == ["get_weather"]


@pytest.mark.parametrize(("model", "schema"), [("claude-opus-4-1", SCHEMA), (MODEL, b"")])
def test_a_format_is_else_asked_for_by_a_tool_that_has_to_be_called(model: str, schema: bytes) -> None:
    sent = body(model, response_format=ResponseFormat(schema))
    assert sent["tool_choice"] == {"type": "tool", "name": "reply"}
    assert sent["tools"][0]["input_schema"] == json.loads(schema or b'{"type":"object"}')
    assert "output_config" not in sent


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("", {"type": "any"}),
        ("auto", {"type": "any"}),
        ("none", {"type": "tool", "name": "reply_"}),
        ("reply", {"type": "tool", "name": "reply"}),
    ],
)
def test_beside_other_tools_the_model_may_call_them_first(choice: str, expected: Any) -> None:
    sent = body("claude-opus-4-1", response_format=ResponseFormat(SCHEMA), tools=(Tool("reply"),), tool_choice=choice)
    assert [tool["name"] for tool in sent["tools"]] == ["reply", "reply_"]
    assert sent["tool_choice"] == expected


def blocks(name: str) -> list[dict[str, Any]]:
    told = said(*replied(KIND, name))
    assert [turn["role"] for turn in told] == ["assistant"]
    content: list[dict[str, Any]] = told[0]["content"]
    return content


def test_a_thought_goes_back_with_its_signature() -> None:
    assert blocks("thinking") == [
        {
            "type": "thinking",
            "thinking": "I need the GCD\n\n1071 = 2 × 462 + 147",
            "signature": "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds",
        },
        {"type": "text", "text": "The greatest common divisor is **21**."},
    ]
    assert blocks("thinking_omitted")[0] == {"type": "thinking", "thinking": "", "signature": "EosnCkYICxIMMb3LzNrMu"}


def test_what_was_withheld_goes_back_in_its_place() -> None:
    assert blocks("redacted") == [
        {"type": "thinking", "thinking": "Let me see.", "signature": "c2lnLTE="},
        {
            "type": "redacted_thinking",
            "data": "EmwKAhgBEgy3va3pzix/LafPsn4aDFIT2Xlxh0L5L8rLVyIwxtE3rAFBa8cr3qpP",
        },
        {"type": "thinking", "thinking": "So it is 21.", "signature": "c2lnLTI="},
        {"type": "text", "text": "21"},
    ]
    assert blocks("redacted_only")[0]["type"] == "redacted_thinking"


def test_each_thought_goes_back_before_what_it_led_to() -> None:
    assert [block["type"] for block in blocks("thinking_interleaved")] == ["thinking", "text", "thinking", "tool_use"]
    first = blocks("thinking_before_tools")
    assert [block["type"] for block in first] == ["thinking", "tool_use", "tool_use"]
    assert first[1] == {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"location": "Paris"}}


def test_a_thought_that_was_cut_off_stays_here() -> None:
    assert said(Message(text="a"), *replied(KIND, "max_tokens_in_thought"), Message(text="b")) == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    ]


def test_a_thought_that_led_to_nothing_stays_here() -> None:
    alone = Message(Role.ASSISTANT, reasoning=Reasoning("Hm.", b"c2ln", "acme"))
    assert said(Message(text="a"), alone, Message(text="b"))[0]["role"] == "user"
    assert len(said(Message(text="a"), alone, Message(text="b"))) == 1


def test_thoughts_go_to_their_own_endpoint_only() -> None:
    told = turns(replied(KIND, "thinking"), "other")
    assert [block["type"] for block in told[0]["content"]] == ["text"]


@pytest.mark.parametrize("signature", [b"", b"\xff", b"[", b"[[1]]", b'[["a","b"]]', b'[[-5,""]]'])
def test_signatures_that_make_no_sense_do_no_harm(signature: bytes) -> None:
    message = Message(Role.ASSISTANT, "Hi", Reasoning("Hm.", signature, "acme"))
    assert said(message)[0]["content"] == [{"type": "text", "text": "Hi"}]


def test_equal_requests_give_equal_bytes_whatever_the_order_of_keys() -> None:
    one = ChatRequest("m", messages=(use("1", a=1, b={"c": 2, "d": 3}),))
    other = ChatRequest("m", messages=(use("1", b={"d": 3, "c": 2}, a=1),))
    assert messages_body(one, "acme") == messages_body(other, "acme")
