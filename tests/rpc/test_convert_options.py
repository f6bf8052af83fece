"""Every option of a chat: what is taken, what is refused and by which name, and what a provider gets of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import duration_pb2, json_format

from stepwire.v1 import chat_pb2
from stepwired.errors import Reason
from stepwired.events import ChatOptions, ResponseFormat, Tool
from stepwired.limits import KIB, Limits
from stepwired.rpc.convert.chat import chat_request
from tests.rpc.asking import chat, nested, options, struct, violations

BAD = Reason.MODEL_CONFIG_INVALID
NEEDED = Reason.FIELD_REQUIRED

TEXT_SCHEMA = '{"type":"object","properties":{"b":{"type":"string"},"a":{"type":"integer"}}}'


def tool(**fields: Any) -> chat_pb2.StreamChatRequest:
    return chat(options={"tools": [{"name": "find", **fields}]})


def formatted(**fields: Any) -> chat_pb2.StreamChatRequest:
    return chat(options={"response_format": {"json_object": True} | fields})


def schema_format(text: str) -> chat_pb2.StreamChatRequest:
    return chat(options={"response_format": {"schema_json": text}})


def chosen(choice: str) -> chat_pb2.StreamChatRequest:
    return chat(options={"tools": [{"name": "find"}], "tool_choice": choice})


def padded(size: int) -> str:
    """A schema of so many bytes."""
    head, tail = '{"type":"object","description":"', '"}'
    return head + "x" * (size - len(head) - len(tail)) + tail


def timeout(seconds: int, nanos: int = 0) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=seconds, nanos=nanos)


Case = tuple[str, Reason, Any, Any, Callable[[Any], chat_pb2.StreamChatRequest]]
T, F = "options.tools[0]", "options.response_format"

CASES: list[Case] = [
    ("options.tools", BAD, 128, 129, lambda n: chat(options={"tools": [{"name": f"t{i}"} for i in range(n)]})),
    ("options.tools[1].name", BAD, "b", "a", lambda name: chat(options={"tools": [{"name": "a"}, {"name": name}]})),
    (f"{T}.name", BAD, "x" * 64, "x" * 65, lambda name: tool(name=name)),
    (f"{T}.name", BAD, "A-z_0", "a b", lambda name: tool(name=name)),
    (f"{T}.name", NEEDED, "a", "", lambda name: tool(name=name)),
    (f"{T}.description", BAD, "x" * 8 * KIB, "x" * (8 * KIB + 1), lambda text: tool(description=text)),
    (f"{T}.step", BAD, "x" * 128, "x" * 129, lambda text: tool(step=text)),
    (f"{T}.schema_json", BAD, padded(64 * KIB), padded(64 * KIB + 1), lambda text: tool(schema_json=text)),
    (f"{T}.schema_json", BAD, TEXT_SCHEMA, "{", lambda text: tool(schema_json=text)),
    (f"{T}.schema_json", BAD, TEXT_SCHEMA, "[" * 5000, lambda text: tool(schema_json=text)),
    (f"{T}.schema_json", BAD, TEXT_SCHEMA, "[]", lambda text: tool(schema_json=text)),
    (f"{T}.schema_json", BAD, TEXT_SCHEMA, '{"type":"array"}', lambda text: tool(schema_json=text)),
    (f"{T}.schema_json", BAD, TEXT_SCHEMA, '{"type":"object","properties":3}', lambda text: tool(schema_json=text)),
    (
        f"{T}.schema_json",
        BAD,
        TEXT_SCHEMA,
        '{"type":"object","properties":{"a":{"$ref":"http://127.0.0.1:1/"}}}',
        lambda text: tool(schema_json=text),
    ),
    (f"{T}.schema", BAD, struct(type="object"), struct(type="objekt"), lambda value: tool(schema=value)),
    (f"{F}.schema_json", BAD, '{"type":"array"}', '{"type":"objekt"}', schema_format),
    (f"{F}.schema_json", BAD, "{}", "true", schema_format),
    (f"{F}.json_object", BAD, True, False, lambda flag: formatted(json_object=flag)),
    (F, NEEDED, {"json_object": True}, {}, lambda fields: chat(options={"response_format": fields})),
    (f"{F}.name", BAD, "x" * 64, "x y", lambda name: formatted(name=name)),
    ("options.tool_choice", BAD, "find", "other", chosen),
    ("options.tool_choice", BAD, "required", "any", chosen),
    ("options.tool_choice", BAD, "", "auto", options("tool_choice")),
    (
        "options.parallel_tool_calls",
        BAD,
        [{"name": "a"}],
        [],
        lambda tools: chat(options={"tools": tools, "parallel_tool_calls": False}),
    ),
    ("options.reasoning_effort", BAD, "xhigh", "huge", options("reasoning_effort")),
    ("options.logit_bias", BAD, 300, 301, lambda n: chat(options={"logit_bias": dict.fromkeys(range(n), 1.0)})),
    ("options.logit_bias[7]", BAD, 100.0, 100.1, lambda bias: chat(options={"logit_bias": {7: bias}})),
    ("options.logit_bias[7]", BAD, -100.0, float("nan"), lambda bias: chat(options={"logit_bias": {7: bias}})),
    ("options.logit_bias[-1]", BAD, 0, -1, lambda token: chat(options={"logit_bias": {token: 1.0}})),
    ("options.top_logprobs", BAD, 0, -1, options("top_logprobs")),
    ("options.top_logprobs", BAD, 20, 21, options("top_logprobs")),
    ("options.max_turns", BAD, 32, 33, options("max_turns")),
    ("options.max_turns", BAD, 1, -1, options("max_turns")),
    ("options.tool_timeout", BAD, timeout(600), timeout(600, 1), options("tool_timeout")),
    ("options.tool_timeout", BAD, timeout(0, 1), timeout(0), options("tool_timeout")),
    ("request_id", Reason.FIELD_INVALID, "x" * 36, "x" * 37, lambda value: chat(request_id=value)),
    ("request_id", Reason.FIELD_INVALID, "a b~", "é", lambda value: chat(request_id=value)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{str(case[3])[:20]}")
def test_an_option_just_inside_is_taken_and_just_outside_is_refused_by_its_name(case: Case) -> None:
    field, reason, inside, outside, make = case
    assert violations(make(inside)) == ()
    (found,) = violations(make(outside))
    assert (found.field, found.reason) == (field, reason)
    assert found.description


def test_a_schema_nested_too_deep_is_refused_where_it_is() -> None:
    (found,) = violations(tool(schema=nested(33)))
    assert found.field.startswith(f"{T}.schema.a")
    assert found.reason is BAD


def test_all_faults_of_options_are_reported_in_the_order_of_the_fields() -> None:
    wrong = {
        "temperature": 3,
        "stop": [""],
        "seed": -1,
        "tools": [{"name": ""}, {"name": "x", "schema_json": "?"}],
        "tool_choice": "y",
        "response_format": {},
        "reasoning_effort": "?",
        "logit_bias": {1: 101.0},
        "top_logprobs": 21,
        "max_turns": 33,
        "tool_timeout": timeout(-1),
    }
    assert [found.field.removeprefix("options.") for found in violations(chat(options=wrong))] == [
        "temperature",
        "stop[0]",
        "seed",
        "tools[0].name",
        "tools[1].schema_json",
        "tool_choice",
        "response_format",
        "reasoning_effort",
        "logit_bias[1]",
        "top_logprobs",
        "max_turns",
        "tool_timeout",
    ]


def read(text: str) -> ChatOptions:
    return chat_request(json_format.Parse(text, chat_pb2.StreamChatRequest(prompt="hi")), Limits()).options


def test_options_are_read_as_people_type_them() -> None:
    assert read(
        """{"options": {"tools": [
              {"name": "find", "description": "Finds.", "schema": {"type": "object", "properties": {}}, "strict": true},
              {"name": "run", "step": "upper"},
              {"name": "now"}],
            "tool_choice": "find", "parallel_tool_calls": false,
            "response_format": {"schema_json": "{ }", "name": "it", "retry": true},
            "reasoning_effort": "low", "logit_bias": {"9": 1, "3": -2.5}, "top_logprobs": 0,
            "cache": true, "restart": true, "max_turns": 3, "tool_timeout": "1.5s"}}"""
    ) == ChatOptions(
        tools=(
            Tool("find", "Finds.", b'{"properties":{},"type":"object"}', strict=True),
            Tool("run", schema=b"", step="upper"),
            Tool("now", schema=b'{"type":"object","properties":{}}'),
        ),
        tool_choice="find",
        parallel_tool_calls=False,
        response_format=ResponseFormat(b"{ }", "it", retry=True),
        reasoning_effort="low",
        logit_bias=((3, -2.5), (9, 1.0)),
        top_logprobs=0,
        cache=True,
        restart=True,
        max_turns=3,
        tool_timeout_s=1.5,
    )


def test_what_is_not_set_is_not_chosen_for_the_provider() -> None:
    assert read("{}") == ChatOptions()


def test_an_object_is_sent_with_its_keys_sorted_and_text_as_it_is() -> None:
    schema = json.loads(TEXT_SCHEMA)
    asked = json.dumps(
        {"options": {"tools": [{"name": "a", "schema": schema}, {"name": "b", "schemaJson": TEXT_SCHEMA}]}}
    )
    sorted_one, verbatim = read(asked).tools
    assert sorted_one.schema == json.dumps(schema, sort_keys=True, separators=(",", ":")).encode()
    assert verbatim.schema == TEXT_SCHEMA.encode()


def test_numbers_that_only_text_can_say_are_sent_as_they_are() -> None:
    text = '{"type":"object","properties":{"n":{"type":"integer","maximum":18446744073709551615}}}'
    assert (
        read(json.dumps({"options": {"tools": [{"name": "a", "schemaJson": text}]}})).tools[0].schema == text.encode()
    )


def test_the_json_of_messages_and_of_schemas_counts_together() -> None:
    limits = Limits(json_values=6)
    given = {
        "messages": [{"tool_use": {"tool_id": "t", "name": "n", "input": {"a": 1, "b": 2, "c": 3}}}],
        "options": {"tools": [{"name": "a", "schema": {"type": "object", "x": 1, "y": 2, "z": 3}}]},
    }
    request = json_format.ParseDict(given, chat_pb2.StreamChatRequest())
    with pytest.raises(Exception, match="at most 6 values") as caught:
        chat_request(request, limits)
    assert caught.value.violations[0].field == f"{T}.schema"  # type: ignore[attr-defined]


def test_the_same_request_has_the_same_digest_and_another_has_not() -> None:
    def digest(**fields: Any) -> bytes:
        request = json_format.ParseDict({"prompt": "hi", "requestId": "r", **fields}, chat_pb2.StreamChatRequest())
        return chat_request(request, Limits()).request_digest

    one = {"options": {"tools": [{"name": "a", "schema": {"type": "object", "a": 1, "b": 2}}]}}
    same = {"options": {"tools": [{"name": "a", "schema": {"b": 2, "a": 1, "type": "object"}}]}, "requestId": "other"}
    assert digest(**one) == digest(**same)
    assert len({digest(), digest(prompt="hj"), digest(model="m"), digest(**one)}) == 4
