"""Tools for models that know none: what they are asked, and what is read back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwired.errors import Failure, InvalidRequest, Reason
from stepwired.events import (
    ChatOptions,
    ChatRequest,
    Event,
    Finished,
    FinishReason,
    Message,
    Role,
    TextDelta,
    Tool,
    ToolCallDelta,
    ToolCalled,
    ToolResult,
    ToolUse,
)
from stepwired.providers.base import ModelEntry
from stepwired.providers.catalogue.abilities import refusal
from stepwired.providers.refusing.refusals import Asked
from stepwired.providers.wires.openai.calls import CallDecoder, in_words, is_by_format
from stepwired.providers.wires.openai.request import chat_body
from stepwired.providers.wires.quirks import Quirks
from tests.fakeprov.behaviours import chunk

CITY = b'{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}'
WEATHER, CLOCK = Tool("weather", "Tells the weather.", CITY), Tool("clock", "Tells the time.")


def asking(choice: str, *tools: Tool, messages: tuple[Message, ...] = (Message(text="Oslo?"),)) -> ChatRequest:
    options = ChatOptions(tools=tools or (WEATHER, CLOCK), tool_choice=choice)
    return ChatRequest("m", "Be brief.", messages, options=options)


def sent(request: ChatRequest) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(chat_body(in_words(request)))
    return body


def read(*pieces: str, finish: str = "stop", tools: tuple[Tool, ...] = (WEATHER, CLOCK)) -> list[Event]:
    decoder = CallDecoder(Asked("acme", "m"), None, ChatOptions(tools=tools, tool_choice="required"), 3, Quirks())
    events: list[Event] = []
    for piece in (*map(chunk, pieces), chunk(finish=finish), b"data: [DONE]\n\n"):
        events += decoder.feed(piece)
    return events if decoder.is_done and isinstance(events[-1], Finished) else [*events, *decoder.end()]


def test_a_call_that_has_to_be_is_asked_for_as_json_of_one_of_the_tools() -> None:
    body = sent(asking("required"))
    assert "tools" not in body
    assert "tool_choice" not in body
    calls = body["response_format"]["json_schema"]["schema"]["anyOf"]
    assert [call["properties"]["name"]["const"] for call in calls] == ["weather", "clock"]
    assert calls[0]["properties"]["arguments"] == json.loads(CITY)
    assert list(calls[0]["properties"]) == ["name", "arguments"], "the reader relies on their order"
    system = body["messages"][0]["content"]
    assert system.startswith("Be brief.\n\n")
    assert "\nweather: Tells the weather." in system


def test_a_call_of_one_tool_is_asked_for_as_its_alone() -> None:
    body = sent(asking("clock"))
    assert body["response_format"]["json_schema"]["schema"]["properties"]["name"] == {"const": "clock"}
    assert "weather" not in body["messages"][0]["content"]


def test_references_within_a_tools_schema_still_lead_to_their_parts() -> None:
    schema = b'{"type":"object","properties":{"a":{"$ref":"#/$defs/x"}},"$defs":{"x":{"type":"string"}}}'
    asked = sent(asking("f", Tool("f", schema=schema)))["response_format"]["json_schema"]["schema"]
    assert asked["properties"]["arguments"] == {"$ref": "#/$defs/tool0"}
    assert asked["$defs"]["tool0"]["properties"]["a"] == {"$ref": "#/$defs/tool0/$defs/x"}


@pytest.mark.parametrize("choice", ["none", "auto", ""])
def test_where_no_call_is_asked_for_the_model_is_told_of_no_tool(choice: str) -> None:
    body = sent(asking(choice))
    assert "response_format" not in body
    assert [message["content"] for message in body["messages"]] == ["Be brief.", "Oslo?"]


def test_calls_that_were_and_their_answers_are_told_in_words() -> None:
    said = (
        Message(text="Oslo?"),
        Message(Role.ASSISTANT, tool_use=ToolUse("1", "weather", {"city": "Oslo"})),
        Message(Role.TOOL, tool_result=ToolResult("1", "sunny")),
        Message(Role.ASSISTANT, tool_use=ToolUse("2", "clock", {})),
        Message(Role.TOOL, tool_result=ToolResult("2", "broken", is_error=True)),
    )
    assert sent(asking("", messages=said))["messages"][1:] == [
        {"role": "user", "content": "Oslo?"},
        {"role": "assistant", "content": '{"arguments":{"city":"Oslo"},"name":"weather"}'},
        {"role": "user", "content": "The function answered: sunny"},
        {"role": "assistant", "content": '{"arguments":{},"name":"clock"}'},
        {"role": "user", "content": "The function failed: broken"},
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_a_call_is_read_however_it_is_cut(size: int) -> None:
    text = '{\n "name": "weather", "arguments": {"city": "a}b\\"{ö"} \n}\n'
    events = read(*(text[at : at + size] for at in range(0, len(text), size)))
    called = next(event for event in events if isinstance(event, ToolCalled))
    assert called.tool_use == ToolUse("call_3_0", "weather", {"city": 'a}b"{ö'})
    arguments = "".join(event.arguments for event in events if isinstance(event, ToolCallDelta))
    assert json.loads(arguments) == called.tool_use.input
    assert not any(isinstance(event, TextDelta) for event in events)
    end = events[-1]
    assert isinstance(end, Finished)
    assert end.reason is FinishReason.TOOL_USE


@pytest.mark.parametrize("text", ["", '{"name": "wea', '{"name":"weather","arguments":{"city":"Os'])
def test_a_call_that_was_cut_off_is_none(text: str) -> None:
    events = read(text, finish="length")
    end = events[-1]
    assert isinstance(end, Finished)
    assert end.reason is FinishReason.LENGTH
    assert not any(isinstance(event, ToolCalled) for event in events)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I cannot.", Reason.PROVIDER_PROTOCOL_ERROR),
        ('{"name":"weather","arguments":[]}', Reason.PROVIDER_PROTOCOL_ERROR),
        ('{"name":"weather","arguments":{"town":1}}', Reason.STRUCTURED_OUTPUT_INVALID),
        ('{"name":"rm","arguments":{}}', Reason.STRUCTURED_OUTPUT_INVALID),
    ],
)
def test_what_is_no_call_of_a_tool_that_was_offered_is_refused(text: str, reason: Reason) -> None:
    with pytest.raises(Failure) as failed:
        read(text)
    assert failed.value.reason is reason


@pytest.mark.parametrize(
    ("mode", "choice", "by_format"),
    [
        ("never", "required", False),
        ("forced", "required", True),
        ("forced", "weather", True),
        ("forced", "auto", False),
        ("always", "auto", True),
        ("always", "required", True),
    ],
)
def test_only_some_servers_are_asked_that_way(mode: Any, choice: str, *, by_format: bool) -> None:
    assert is_by_format(asking(choice).options, Quirks(tools_by_format=mode)) is by_format


ANSWERED = (
    Message(Role.ASSISTANT, tool_use=ToolUse("1", "weather", {})),
    Message(Role.TOOL, tool_result=ToolResult("1", "x")),
)


@pytest.mark.parametrize("choice", ["", "auto"])
def test_a_model_that_cannot_decide_about_a_tool_is_not_asked_to(choice: str) -> None:
    model = ModelEntry("small", "chat", "acme", "small", chooses_tools=False)
    refused = refusal(model, asking(choice))
    assert isinstance(refused, InvalidRequest)
    assert (refused.reason, refused.violations[0].field) == (Reason.MODEL_FEATURE_UNSUPPORTED, "options.tool_choice")
    assert refusal(model, asking(choice, messages=ANSWERED)) is None, "it has its answer, and goes on in words"
    for forced in ("required", "none", "weather"):
        assert refusal(model, asking(forced)) is None
