"""What a request asks for is what a model is asked; what cannot be done is refused, by its place."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from stepwired.errors import InvalidRequest
from stepwired.events import (
    ChatOptions,
    ChatRequest,
    Image,
    Message,
    ResponseFormat,
    Role,
    Tool,
    ToolResult,
    ToolUse,
)
from stepwired.limits import Limits
from stepwired.web.convert.chat import chat_request

LIMITS = Limits()
USER: dict[str, Any] = {"role": "user", "content": "hi"}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks.",
        "parameters": {"type": "object", "properties": {"b": {}, "a": {}}},
    },
}
PIXEL = b"\x89PNG..."


def read(**fields: Any) -> ChatRequest:
    return chat_request({"messages": [USER]} | fields, LIMITS)[0]


def faults(**fields: Any) -> dict[str, str]:
    """The faults of a request, by place."""
    with pytest.raises(InvalidRequest) as caught:
        read(**fields)
    return {violation.field: violation.reason.value for violation in caught.value.violations}


def test_every_option_is_read() -> None:
    options = read(
        temperature=0.5,
        top_p=0.9,
        max_completion_tokens=7,
        max_tokens=9,
        stop=["a", "b"],
        seed=3.0,
        presence_penalty=1,
        frequency_penalty=-1,
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "look"}},
        parallel_tool_calls=False,
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        reasoning_effort="low",
        logit_bias={"7": 1, "3": -2.5},
        logprobs=True,
        top_logprobs=2,
        user="somebody",
        metadata={"a": "b"},
        store=False,
        n=1,
    ).options
    assert options == ChatOptions(
        temperature=0.5,
        top_p=0.9,
        max_tokens=7,
        stop=("a", "b"),
        seed=3,
        presence_penalty=1,
        frequency_penalty=-1,
        tools=(Tool("look", "Looks.", b'{"properties":{"a":{},"b":{}},"type":"object"}'),),
        tool_choice="look",
        parallel_tool_calls=False,
        response_format=ResponseFormat(b'{"type":"object"}', "n"),
        reasoning_effort="low",
        logit_bias=((3, -2.5), (7, 1.0)),
        top_logprobs=2,
    )


def test_what_is_null_is_as_if_it_were_missing() -> None:
    names = """temperature top_p max_tokens stop seed tools tool_choice response_format reasoning_effort logit_bias
    logprobs top_logprobs n stream stream_options functions parallel_tool_calls modalities model"""
    assert read(**dict.fromkeys(names.split())) == read()


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"stop": "end"}, ChatOptions(stop=("end",))),
        ({"max_tokens": 5}, ChatOptions(max_tokens=5)),
        ({"logprobs": True}, ChatOptions(top_logprobs=0)),
        ({"response_format": {"type": "json_object"}}, ChatOptions(response_format=ResponseFormat())),
        ({"response_format": {"type": "text"}}, ChatOptions()),
        ({"tools": [], "tool_choice": "none"}, ChatOptions()),
        ({"tools": [], "parallel_tool_calls": True}, ChatOptions()),
        (
            {"tools": [{"type": "function", "function": {"name": "a"}}], "tool_choice": "required"},
            ChatOptions(tools=(Tool("a"),), tool_choice="required"),
        ),
        ({"tools": [{"function": {"name": "a", "parameters": {}}}]}, ChatOptions(tools=(Tool("a"),))),
        ({"functions": []}, ChatOptions()),
        ({"functions": [], "function_call": "auto"}, ChatOptions()),
        ({"function_call": "none", "tools": []}, ChatOptions()),
        ({"verbosity": "medium", "grammar": ""}, ChatOptions()),
        ({"top_p": 0}, ChatOptions(top_p=0.000001)),
        ({"something_new": {"of": ["OpenAI's"]}}, ChatOptions()),
    ],
)
def test_other_ways_to_say_it_are_read(fields: dict[str, Any], options: ChatOptions) -> None:
    assert read(**fields).options == options


def test_a_conversation_with_tools_and_images_is_read() -> None:
    data = f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"
    given = [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is "},
                {"type": "image_url", "image_url": {"url": data, "detail": "low"}},
                {"type": "image_url", "image_url": {"url": data.replace("data:", "DATA:").replace("base64", "BASE64")}},
                {"type": "text", "text": "this?"},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            ],
        },
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}},
                {"id": "call_2", "type": "function", "function": {"name": "look", "arguments": ""}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "a cat"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": ""}]},
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "And now?"},
    ]
    assert read(messages=given).messages == (
        Message(Role.SYSTEM, "Be brief."),
        Message(
            Role.USER,
            "What is \nthis?",
            images=(Image(data=PIXEL, detail="low"), Image(data=PIXEL), Image(uri="https://example.com/a.png")),
        ),
        Message(Role.ASSISTANT, "I look."),
        Message(Role.ASSISTANT, tool_use=ToolUse("call_1", "look", {"at": 1})),
        Message(Role.ASSISTANT, tool_use=ToolUse("call_2", "look", {})),
        Message(Role.TOOL, tool_result=ToolResult("call_1", "a cat")),
        Message(Role.TOOL, tool_result=ToolResult("call_2", "")),
        Message(Role.ASSISTANT, "No."),
        Message(Role.USER, "And now?"),
    )


CALL = {"id": "call_1", "function": {"name": "look", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("messages", "place", "reason"),
    [
        (None, "messages", "FIELD_REQUIRED"),
        ([], "messages", "FIELD_REQUIRED"),
        ("hi", "messages", "FIELD_INVALID"),
        ([3], "messages[0]", "INVALID_MESSAGE"),
        ([{"content": "hi"}], "messages[0].role", "INVALID_MESSAGE"),
        ([{"role": "banana", "content": "hi"}], "messages[0].role", "INVALID_MESSAGE"),
        ([{"role": "user"}], "messages[0]", "INVALID_MESSAGE"),
        ([{"role": "user", "content": ""}], "messages[0]", "INVALID_MESSAGE"),
        ([{"role": "assistant", "content": ""}], "messages", "INVALID_CONVERSATION"),
        ([{"role": "user", "content": 3}], "messages[0].content", "INVALID_MESSAGE"),
        ([{"role": "user", "content": {"a": 1}}], "messages[0].content", "INVALID_MESSAGE"),
        ([{"role": "user", "content": ["a"]}], "messages[0].content[0]", "INVALID_MESSAGE"),
        ([{"role": "user", "content": [{}]}], "messages[0].content[0].type", "INVALID_MESSAGE"),
        (
            [USER, {"role": "user", "content": [{"type": "input_audio"}]}],
            "messages[1].content[0].type",
            "MODEL_FEATURE_UNSUPPORTED",
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": "ftp://example.com/a.png"}]}],
            "messages[0].content[0].image_url",
            "FIELD_INVALID",
        ),
        ([{"role": "tool", "content": "x"}], "messages[0].tool_call_id", "FIELD_REQUIRED"),
        ([{"role": "user", "content": "x", "tool_calls": [CALL]}], "messages[0].tool_calls", "INVALID_MESSAGE"),
        ([{"role": "assistant", "tool_calls": [{**CALL, "id": ""}]}], "messages[0].tool_calls[0].id", "FIELD_REQUIRED"),
        ([{"role": "tool", "tool_call_id": "é", "content": "x"}], "messages[0].tool_call_id", "FIELD_INVALID"),
        ([{"role": "tool", "tool_call_id": "x" * 4097, "content": "x"}], "messages[0].tool_call_id", "FIELD_INVALID"),
        (
            [{"role": "assistant", "tool_calls": [{**CALL, "id": "\n"}]}],
            "messages[0].tool_calls[0].id",
            "FIELD_INVALID",
        ),
        ([{"role": "assistant", "tool_calls": [{**CALL, "type": "custom"}]}], "messages[0].tool_calls[0].type", None),
        ([{"role": "user", "content": "x" * (LIMITS.message_text_bytes + 1)}], "messages[0].content", "FIELD_INVALID"),
        ([USER] * (LIMITS.append_messages + 1), "messages", "FIELD_INVALID"),
    ],
)
def test_messages_with_faults_are_refused_by_their_place(messages: Any, place: str, reason: str | None) -> None:
    found = faults(messages=messages)
    assert place in found
    assert reason in {found[place], None}


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"n": 2}, "n"),
        ({"stop": [""]}, "stop[0]"),
        ({"stop": [1]}, "stop[0]"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**31}, "seed"),
        ({"seed": 2**63 - 1}, "seed"),
        ({"seed": 9007199254740993.0}, "seed"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"reasoning_effort": "very"}, "reasoning_effort"),
        ({"logit_bias": {"a": 1}}, "logit_bias[a]"),
        ({"logit_bias": {"1": 101}}, "logit_bias[1]"),
        ({"logit_bias": {"1": "x"}}, "logit_bias[1]"),
        ({"logit_bias": []}, "logit_bias"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"model": 3}, "model"),
        ({"tools": {}}, "tools"),
        ({"tools": [TOOL, TOOL]}, "tools[1].function.name"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"function": {"name": "no spaces"}}]}, "tools[0].function.name"),
        ({"tools": [{"function": {"name": "a", "parameters": {"type": "string"}}}]}, "tools[0].function.parameters"),
        ({"tools": [{"function": {"name": "a", "parameters": []}}]}, "tools[0].function.parameters"),
        ({"tools": [TOOL], "tool_choice": "other"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {}}, "tool_choice"),
        (
            {
                "tools": [{"function": {"name": "auto"}}],
                "tool_choice": {"type": "function", "function": {"name": "auto"}},
            },
            "tool_choice",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": 7}}}},
            "response_format.json_schema.schema",
        ),
        ({"modalities": ["text", "audio"]}, "modalities[1]"),
        ({"functions": [{"name": "a"}]}, "functions"),
        ({"functions": {}}, "functions"),
        ({"function_call": {"name": "a"}}, "function_call"),
        ({"function_call": "none", "tools": [TOOL]}, "function_call"),
        ({"verbosity": "low"}, "verbosity"),
        ({"guided_json": {"type": "object"}}, "guided_json"),
        ({"structured_outputs": {"json": {}}}, "structured_outputs"),
        ({"grammar": "root ::= [0-9]"}, "grammar"),
        ({"json_schema": {"type": "object"}}, "json_schema"),
        ({"audio": {}}, "audio"),
        ({"base_url": "http://evil"}, "base_url"),
        ({"api_key": "sk-x"}, "api_key"),
    ],
)
def test_options_with_faults_are_refused_by_their_place(fields: dict[str, Any], place: str) -> None:
    assert place in faults(**fields)
