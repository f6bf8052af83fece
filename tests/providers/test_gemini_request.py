"""What the Gemini wire is sent, and that its signatures go back to it with the very part they came with."""

from __future__ import annotations

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
    ToolUse,
)
from stepwired.providers.wires.gemini.request import contents, generate_body
from tests.providers.wires import refused, replied, request_of, result, use

MODEL = "gemini-2.5-flash"
WEATHER = Tool("get_weather", "The weather", b'{"type":"object","properties":{"b":{},"a":{}}}')
SCHEMA = b'{"type":"object","properties":{"n":{"type":"integer"}}}'


def body(model: str = MODEL, **fields: Any) -> dict[str, Any]:
    asked: dict[str, Any] = json.loads(generate_body(request_of(model, **fields), "acme"))
    return asked


def said(*messages: Message, **options: bool) -> list[dict[str, Any]]:
    given = contents(messages, "acme", **options)
    told: list[dict[str, Any]] = json.loads(json.dumps(given, default=lambda raw: json.loads(bytes(raw))))
    return told


def parts(name: str) -> list[dict[str, Any]]:
    """What goes back of a recorded shape."""
    told = said(*replied("gemini", name))
    assert [turn["role"] for turn in told] == ["model"]
    given: list[dict[str, Any]] = told[0]["parts"]
    return given


def test_what_is_unset_is_not_sent() -> None:
    assert body() == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


def test_what_is_set_is_sent_in_the_words_of_the_wire_zeros_too() -> None:
    sent = body(
        system="Be brief.",
        messages=(Message(Role.SYSTEM, "Be kind."), Message(text="hi")),
        temperature=0.0,
        top_p=0.5,
        max_tokens=7,
        stop=("a",),
        seed=0,
        presence_penalty=0.0,
        frequency_penalty=-1.0,
        top_logprobs=3,
    )
    assert sent["systemInstruction"] == {"parts": [{"text": "Be brief.\n\nBe kind."}]}
    assert len(sent["contents"]) == 1
    assert sent["generationConfig"] == {
        "temperature": 0.0,
        "topP": 0.5,
        "maxOutputTokens": 7,
        "stopSequences": ["a"],
        "seed": 0,
        "presencePenalty": 0.0,
        "frequencyPenalty": -1.0,
        "responseLogprobs": True,
        "logprobs": 3,
    }


def test_probabilities_may_be_asked_for_without_alternatives() -> None:
    assert body(top_logprobs=0)["generationConfig"] == {"responseLogprobs": True}


def test_user_and_model_take_turns_and_results_follow_their_calls() -> None:
    told = said(
        Message(text="?"),
        Message(text="!"),
        Message(Role.ASSISTANT, "I look."),
        use("a", z=1, y=2),
        use("call_1_0"),
        Message(text="Hurry!"),
        result("call_1_0", "two", is_error=True),
        result("a", "one"),
        Message(Role.SYSTEM, "elsewhere"),
    )
    assert told == [
        {"role": "user", "parts": [{"text": "?"}, {"text": "!"}]},
        {
            "role": "model",
            "parts": [
                {"text": "I look."},
                {"functionCall": {"name": "look", "args": {"y": 2, "z": 1}, "id": "a"}},
                {"functionCall": {"name": "look", "args": {}}},  # the id was ours
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "look", "response": {"output": "one"}, "id": "a"}},
                {"functionResponse": {"name": "look", "response": {"error": "two"}}},
                {"text": "Hurry!"},
            ],
        },
    ]


def test_pictures_go_by_their_bytes_or_their_address_before_the_text() -> None:
    images = (Image(b"png", media_type="image/png"), Image(uri="https://example.org/a.png"))
    assert said(Message(text="What?", images=images))[0]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "cG5n"}},
        {"fileData": {"fileUri": "https://example.org/a.png"}},
        {"text": "What?"},
    ]


@pytest.mark.parametrize(
    ("options", "calling"),
    [
        ({}, None),
        ({"parallel_tool_calls": True}, None),
        ({"tool_choice": "auto"}, {"mode": "AUTO"}),
        ({"tool_choice": "none"}, {"mode": "NONE"}),
        ({"tool_choice": "required"}, {"mode": "ANY"}),
        ({"tool_choice": "get_weather"}, {"mode": "ANY", "allowedFunctionNames": ["get_weather"]}),
    ],
)
def test_which_tools_have_to_be_called(options: dict[str, Any], calling: Any) -> None:
    sent = body(tools=(WEATHER, Tool("other")), **options)
    assert sent.get("toolConfig") == (calling and {"functionCallingConfig": calling})
    assert sent["tools"][0]["functionDeclarations"] == [
        {
            "name": "get_weather",
            "description": "The weather",
            "parametersJsonSchema": {"type": "object", "properties": {"b": {}, "a": {}}},
        },
        {"name": "other", "parametersJsonSchema": {"type": "object", "properties": {}}},
    ]


def test_a_strict_tool_has_the_model_held_to_its_schema() -> None:
    sent = body(tools=(Tool("other", strict=True),))
    assert sent["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}


def test_schemas_are_sent_as_they_are_written() -> None:
    options = ChatOptions(tools=(WEATHER,), response_format=ResponseFormat(SCHEMA))
    sent = generate_body(ChatRequest(MODEL, messages=(Message(text="hi"),), options=options), "acme")
    assert WEATHER.schema in sent
    assert SCHEMA in sent


@pytest.mark.parametrize(
    ("schema", "config"),
    [
        (SCHEMA, {"responseMimeType": "application/json", "responseJsonSchema": json.loads(SCHEMA)}),
        (b"", {"responseMimeType": "application/json"}),
    ],
)
def test_a_format_is_asked_for_natively(schema: bytes, config: Any) -> None:
    assert body(response_format=ResponseFormat(schema))["generationConfig"] == config


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        (MODEL, "none", {"thinkingBudget": 0, "includeThoughts": False}),
        (MODEL, "low", {"thinkingBudget": 1024, "includeThoughts": True}),
        (MODEL, "high", {"thinkingBudget": 24576, "includeThoughts": True}),
        ("gemini-3-pro-preview", "minimal", {"thinkingLevel": "minimal", "includeThoughts": True}),
        ("gemini-3-pro-preview", "high", {"thinkingLevel": "high", "includeThoughts": True}),
    ],
)
def test_models_are_told_how_much_to_think_in_their_own_way(model: str, effort: str, thinking: Any) -> None:
    assert body(model, reasoning_effort=effort)["generationConfig"] == {"thinkingConfig": thinking}


def test_a_model_that_does_not_think_needs_not_be_told_not_to() -> None:
    assert "generationConfig" not in body("gemini-2.0-flash", reasoning_effort="none")


@pytest.mark.parametrize(
    ("model", "effort"),
    [("gemini-2.0-flash", "low"), (MODEL, "xhigh"), ("gemini-3-pro-preview", "xhigh"), ("gemini-3-flash", "none")],
)
def test_what_a_model_cannot_be_told_is_refused(model: str, effort: str) -> None:
    refusal = refused("gemini", request_of(model, reasoning_effort=effort))
    assert refusal is not None
    assert refusal.reason is Reason.MODEL_FEATURE_UNSUPPORTED
    assert [violation.field for violation in refusal.violations] == ["options.reasoning_effort"]


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        (ChatOptions(logit_bias=((1, 2.0),)), ["options.logit_bias"]),
        (ChatOptions(parallel_tool_calls=False, stop=tuple("abcdef")), ["options.parallel_tool_calls", "options.stop"]),
    ],
)
def test_what_the_wire_has_no_word_for_is_refused(options: ChatOptions, fields: list[str]) -> None:
    refusal = refused("gemini", ChatRequest(MODEL, options=options))
    assert refusal is not None
    assert refusal.reason is Reason.MODEL_FEATURE_UNSUPPORTED
    assert [violation.field for violation in refusal.violations] == fields


def test_a_signature_goes_back_with_its_call() -> None:
    assert parts("tools_parallel") == [
        {"text": "I look."},
        {
            "functionCall": {"name": "get_weather", "args": {"location": "Paris"}},
            "thoughtSignature": "CpcBAVSoXO5VPM9",
        },
        {"functionCall": {"name": "get_time", "args": {"zone": "CET"}}},
    ]
    assert parts("tools_with_ids")[0]["functionCall"]["id"] == "function-call-17004863738474"


def test_a_signature_goes_back_in_the_part_of_its_own_that_it_came_in() -> None:
    assert parts("thinking") == [{"text": "It is 2."}, {"text": "", "thoughtSignature": "CiQB0e2Kbw8zWgJ4"}]


def test_a_signed_text_is_never_one_part_with_another() -> None:
    assert parts("signature_within_text") == [
        {"text": "One "},
        {"text": "two ", "thoughtSignature": "c2lnLTI="},
        {"text": "three"},
    ]
    assert parts("signature_of_text") == [{"text": "One two", "thoughtSignature": "c2ln"}]


def test_a_thought_goes_back_if_it_is_signed() -> None:
    assert parts("signature_of_thought") == [
        {"text": "Hm.", "thought": True, "thoughtSignature": "c2ln"},
        {"text": "Two"},
    ]


def test_signatures_go_to_their_own_endpoint_only() -> None:
    message = Message(Role.ASSISTANT, "Hi", Reasoning("Hm.", b"c2ln", "other"))
    assert said(message)[0]["parts"] == [{"text": "Hi"}]


def test_calls_of_other_models_say_so_where_a_signature_is_insisted_on() -> None:
    foreign = (use("a"), use("b"), result("a", "x"), result("b", "y"))
    assert "thoughtSignature" not in json.dumps(body(messages=foreign))
    calls = body("gemini-3-pro-preview", messages=foreign)["contents"][0]["parts"]
    assert [call.get("thoughtSignature") for call in calls] == ["skip_thought_signature_validator", None]
    own = Message(Role.ASSISTANT, reasoning=Reasoning("", b"c2ln", "acme"), tool_use=ToolUse("a", "look", {}))
    assert said(own, needs_signature=True)[0]["parts"][0]["thoughtSignature"] == "c2ln"


@pytest.mark.parametrize("signature", [b"", b"\xff", b"[", b"[1]", b'["a"]', b'["a","b","c","d"]'])
def test_signatures_that_make_no_sense_do_no_harm(signature: bytes) -> None:
    message = Message(Role.ASSISTANT, "Hi", Reasoning("Hm.", signature, "acme"))
    assert said(message)[0]["parts"] == [{"text": "Hi"}]


def test_equal_requests_give_equal_bytes_whatever_the_order_of_keys() -> None:
    one = ChatRequest("m", messages=(use("1", a=1, b={"c": 2, "d": 3}),))
    other = ChatRequest("m", messages=(use("1", b={"d": 3, "c": 2}, a=1),))
    assert generate_body(one, "acme") == generate_body(other, "acme")
