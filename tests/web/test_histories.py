"""What callers send back of calls of tools, and the numbers in schemas: nothing but fractions is changed in silence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwired.errors import InvalidRequest
from stepwired.events import ChatRequest, Json, ToolResult
from stepwired.limits import Limits
from stepwired.web.body import parsed
from stepwired.web.convert.chat import chat_request
from tests.web.fronting import HI, serve

LIMITS = Limits()
ARGUMENTS = "messages[1].tool_calls[0].function.arguments"
SCHEMA = b'{"properties":{"id":{"maximum":%b,"type":"integer"}},"type":"object"}'


def history(arguments: str | None) -> dict[str, Any]:
    """A request with a call that was made, and what became of it."""
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": arguments}}
    said = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Error: the arguments are no JSON"},
    ]
    return {"messages": said}


def read(body: bytes) -> ChatRequest:
    """A request as it is read from its bytes."""
    return chat_request(parsed(body, LIMITS.request_json_values), LIMITS)[0]


def used(arguments: str | None) -> Json:
    """The input of the call of a history."""
    asked, call, answer = read(json.dumps(history(arguments)).encode()).messages
    assert asked.text == "Look."
    assert answer.tool_result == ToolResult("call_1", "Error: the arguments are no JSON")
    assert call.tool_use is not None
    return dict(call.tool_use.input)


@pytest.mark.parametrize(
    "arguments",
    [
        '{"city": "Par',
        "{",
        "look at Paris",
        "[]",
        "[1]",
        "3",
        "null",
        '"{}"',
        '{"a": 1}{"b": 2}',
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": 1, "a": 2}',
        r'{"a": "\ud800"}',
        r'{"a": "\u0000"}',
        '{"a": 18446744073709551616}',
        '{"a":' * 33 + "{}" + "}" * 33,
        "{'a': \"\u2028é😀\"}",
    ],
)
def test_arguments_that_are_no_object_are_shown_to_the_model_as_they_were(arguments: str) -> None:
    assert used(arguments) == {"invalid_arguments": arguments}


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (None, {}),
        ("", {}),
        ("{}", {}),
        (' {"a": [1, 2.5]}\n', {"a": [1, 2.5]}),
        ('{"id": 9007199254740993}', {"id": 9007199254740993}),
        ('{"id": [18446744073709551615, -9223372036854775808]}', {"id": [2**64 - 1, -(2**63)]}),
        ('{"x": 1.7976931348623157e308}', {"x": 1.7976931348623157e308}),
        ('{"invalid_arguments": "x"}', {"invalid_arguments": "x"}),
    ],
)
def test_arguments_that_are_an_object_are_passed_on_to_the_last_digit(arguments: str | None, given: Json) -> None:
    assert used(arguments) == given


def test_ids_of_calls_are_those_of_any_provider() -> None:
    tool_id = "call_1__thought__/+a=" + "x" * 1000
    said = json.dumps(history("{}")).replace("call_1", tool_id).encode()
    _, call, answer = read(said).messages
    assert call.tool_use is not None
    assert answer.tool_result is not None
    assert call.tool_use.tool_id == answer.tool_result.tool_id == tool_id


@pytest.mark.parametrize("arguments", ['{"a": "%s"}', '{"a": "%s'], ids=["whole", "broken"])
def test_arguments_have_a_size_whether_they_are_an_object_or_not(arguments: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        used(arguments % ("x" * LIMITS.tool_input_bytes))
    assert [violation.field for violation in caught.value.violations] == [ARGUMENTS]


@pytest.mark.parametrize("number", [b"9223372036854775807", b"18446744073709551615", b"-9223372036854775808"])
@pytest.mark.parametrize("field", ["tools", "response_format"])
def test_schemas_keep_integers_of_64_bits_to_the_last_digit(field: str, number: bytes) -> None:
    schema = SCHEMA % number
    given = {
        "tools": b'"tools":[{"function":{"name":"a","parameters":%b}}]' % schema,
        "response_format": b'"response_format":{"type":"json_schema","json_schema":{"schema":%b}}' % schema,
    }
    options = read(b'{"messages":[{"role":"user","content":"x"}],%b}' % given[field]).options
    found = options.tools[0].schema if options.tools else options.response_format and options.response_format.schema
    assert found == schema


@pytest.mark.parametrize("number", ["18446744073709551616", "-9223372036854775809", "1e400"])
async def test_numbers_that_would_be_changed_are_refused_by_their_place(number: str) -> None:
    tool = {"function": {"name": "a", "parameters": {"type": "object", "properties": {"b": {"maximum": "HERE"}}}}}
    body = json.dumps(HI | {"tools": [tool]}).replace('"HERE"', number).encode()
    async with serve() as front:
        reply = await front.ask("POST", "/v1/chat/completions", body)
    assert reply.status == 400
    assert reply.error["param"] == "tools[0].function.parameters.properties.b.maximum"


async def test_a_large_number_that_nobody_reads_is_passed_over() -> None:
    async with serve() as front:
        reply = await front.chat(metadata={"user": 2**63}, something_new=[2**64 - 1])
    assert reply.status == 200


async def test_a_seed_that_cannot_be_kept_is_refused_by_its_name() -> None:
    async with serve() as front:
        reply = await front.chat(seed=2**63 - 1)
    assert (reply.status, reply.error["param"]) == (400, "seed")
    assert "0 to 2147483647" in reply.error["message"]
