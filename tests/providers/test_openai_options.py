"""What is sent of tools, formats, further options and reasoning, and how servers differ in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwired.errors import Reason
from stepwired.events import (
    ChatOptions,
    ChatRequest,
    Message,
    Reasoning,
    ResponseFormat,
    Role,
    Tool,
    ToolUse,
)
from stepwired.providers.wires.openai.request import chat_body, chat_messages, is_strict
from stepwired.providers.wires.quirks import VENDORS, Quirks, unsaid
from tests.providers.test_openai_request import result, use
from tests.providers.wires import refused, request_of

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


PLAIN = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    "keyword",
    [
        *("allOf", "anyOf", "default", "dependentRequired", "dependentSchemas", "else", "if", "maxProperties", "not"),
        *("oneOf", "patternProperties", "prefixItems", "propertyNames", "then", "unevaluatedProperties", "x-of-mine"),
    ],
)
def test_a_schema_with_words_that_strict_servers_refuse_is_not_called_strict(keyword: str) -> None:
    assert is_strict(json.dumps(PLAIN).encode())
    assert not is_strict(json.dumps(PLAIN | {keyword: {}}).encode())
    inner = {"type": "string", keyword: []} if keyword != "anyOf" else {"anyOf": [{keyword: 1, "not": {}}]}
    assert not is_strict(json.dumps(PLAIN | {"properties": {"a": inner}}).encode())
    below = {"$defs": {"b": {"type": "array", "items": inner}}}
    assert not is_strict(json.dumps(PLAIN | below).encode())


def test_a_property_may_have_any_name_and_schemas_lie_wherever_they_may() -> None:
    named = {name: {"type": "string"} for name in ("default", "not", "allOf", "if", "properties")}
    schema: Any = {"type": "object", "properties": named, "required": [*named], "additionalProperties": False}
    schema["$defs"] = {"default": {"anyOf": [{"type": "array", "items": PLAIN}, {"enum": [{"oneOf": 1}]}]}}
    assert is_strict(json.dumps(schema).encode())
    assert not is_strict(json.dumps(PLAIN | {"properties": {"a": True}}).encode())


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
    refusal = refused("openai", request_of("m", seed=0, logit_bias=((1, 1.0),), top_p=1.0), VENDORS["deepseek"])
    assert refusal is not None
    assert refusal.reason is Reason.MODEL_FEATURE_UNSUPPORTED
    assert [violation.field for violation in refusal.violations] == ["options.logit_bias", "options.seed"]
    assert refusal.metadata == {"model": "m", "feature": "logit_bias"}
    assert refused("openai", request_of("m", top_p=1.0), VENDORS["deepseek"]) is None


def test_an_effort_that_an_endpoint_does_not_know_is_refused() -> None:
    efforts = VENDORS["deepseek"].efforts
    ((field, _),) = unsaid(ChatOptions(reasoning_effort="none"), (), efforts)
    assert field == "options.reasoning_effort"
    assert list(unsaid(ChatOptions(reasoning_effort="low"), (), efforts)) == []
    assert list(unsaid(ChatOptions(), (), efforts)) == []
    assert list(unsaid(ChatOptions(reasoning_effort="none"), ())) == []


def thought(signature: bytes = b"") -> Reasoning:
    return Reasoning("hm", signature, "acme")


def test_reasoning_goes_back_to_the_provider_that_made_it() -> None:
    called = Message(Role.ASSISTANT, reasoning=thought(), tool_use=ToolUse("1", "look", {}))
    answered = Message(Role.ASSISTANT, "So.", thought())
    history = [called, result("1", "a"), answered]
    assert ["reasoning_content" in said for said in chat_messages("", history, VENDORS["deepseek"], "acme")] == [
        True,
        False,
        True,
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
