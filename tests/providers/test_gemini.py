"""What becomes of what a server of the Gemini wire does, on real sockets."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from stepwired.errors import Reason
from stepwired.events import (
    ChatOptions,
    ChatRequest,
    Finished,
    Message,
    Role,
    ToolCalled,
    ToolResult,
)
from stepwired.providers.net.http import Http
from tests.fakeprov import Behaviour, Exchange, Provider, behaviours
from tests.providers.conftest import KEY, REQUEST, ask
from tests.providers.wires import (
    CHUNKED,
    check_cancel,
    check_failure,
    check_silent_cancel,
    check_whole,
    make,
    recorded,
    whole_events,
)

KIND = "gemini"
GOOD = recorded(KIND, "plain")
BEGUN = whole_events(GOOD, 1)


def chunk(*parts: Any, **candidate: Any) -> bytes:
    return behaviours.event({"candidates": [{"content": {"parts": parts}} | candidate]})


def refused(code: int, status: str, message: str = "no", **details: Any) -> Behaviour:
    named = [{"@type": f"type.googleapis.com/google.rpc.{name}"} | fields for name, fields in details.items()]
    body = {"error": {"code": code, "message": message, "status": status, "details": named}}
    return behaviours.status(code, {}, body)


#: Name, behaviour, the failure's reason, the text that came before it, what the call was allowed.
FAILING: list[tuple[str, Behaviour, Reason, str, dict[str, Any]]] = [
    (
        "a wrong key",
        refused(400, "INVALID_ARGUMENT", f"API key {KEY} not valid.", ErrorInfo={"reason": "API_KEY_INVALID"}),
        Reason.PROVIDER_API_KEY_INVALID,
        "",
        {},
    ),
    ("a wrong country", refused(400, "FAILED_PRECONDITION"), Reason.PROVIDER_ACCOUNT_PROBLEM, "", {}),
    ("400", refused(400, "INVALID_ARGUMENT"), Reason.PROVIDER_REJECTED_REQUEST, "", {}),
    (
        "too long",
        refused(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens allowed (8)."),
        Reason.CONTEXT_LENGTH_EXCEEDED,
        "",
        {},
    ),
    ("403", refused(403, "PERMISSION_DENIED"), Reason.PROVIDER_PERMISSION_DENIED, "", {}),
    ("404", refused(404, "NOT_FOUND", "models/gpt-x is not found"), Reason.MODEL_NOT_FOUND, "", {}),
    (
        "429",
        refused(429, "RESOURCE_EXHAUSTED", RetryInfo={"retryDelay": "2s"}),
        Reason.PROVIDER_RATE_LIMITED,
        "",
        {},
    ),
    ("499", refused(499, "CANCELLED"), Reason.PROVIDER_ERROR, "", {}),
    ("500", refused(500, "INTERNAL"), Reason.PROVIDER_ERROR, "", {}),
    ("503", refused(503, "UNAVAILABLE"), Reason.PROVIDER_OVERLOADED, "", {}),
    ("504", refused(504, "DEADLINE_EXCEEDED"), Reason.PROVIDER_ERROR, "", {}),
    (
        "an error that is a 200",
        behaviours.status(200, {}, [{"error": {"code": 503, "status": "UNAVAILABLE"}}]),
        Reason.PROVIDER_OVERLOADED,
        "",
        {},
    ),
    ("a prompt that is blocked", behaviours.stream(recorded(KIND, "blocked_prompt")), Reason.CONTENT_BLOCKED, "", {}),
    ("a malformed call", behaviours.stream(recorded(KIND, "malformed_call")), Reason.PROVIDER_PROTOCOL_ERROR, "", {}),
    ("an error at once", behaviours.stream(recorded(KIND, "error_at_once")), Reason.PROVIDER_RATE_LIMITED, "", {}),
    (
        "an error in the middle",
        behaviours.stream(recorded(KIND, "error_within")),
        Reason.PROVIDER_OVERLOADED,
        "Hel",
        {},
    ),
    ("an end without a reason", behaviours.stream(BEGUN), Reason.PROVIDER_STREAM_TRUNCATED, "Hello", {}),
    (
        "a close",
        behaviours.raw(CHUNKED + b"%x\r\n%b\r\n" % (len(BEGUN), BEGUN)),
        Reason.PROVIDER_STREAM_TRUNCATED,
        "Hello",
        {},
    ),
    ("silence", behaviours.silent(), Reason.PROVIDER_TIMEOUT, "", {"first_byte_s": 0.2}),
    ("compressed", behaviours.stream(GOOD, {"content-encoding": "gzip"}), Reason.PROVIDER_RESPONSE_TOO_LARGE, "", {}),
    ("no JSON", behaviours.stream(BEGUN + b"data: {\n\n"), Reason.PROVIDER_PROTOCOL_ERROR, "Hello", {}),
    (
        "JSON nested 100,000 deep",
        behaviours.stream(b'data: {"x":' + b"[" * 100_000 + b"\n\n"),
        Reason.PROVIDER_PROTOCOL_ERROR,
        "",
        {},
    ),
    (
        "signatures without end",
        behaviours.stream(BEGUN + chunk({"text": "", "thoughtSignature": "x" * 600}) * 2),
        Reason.PROVIDER_RESPONSE_TOO_LARGE,
        "Hello",
        {"text_bytes": 1024},
    ),
    (
        "10,000 tool calls",
        behaviours.stream(chunk({"functionCall": {"name": "a"}}) * 10_000),
        Reason.PROVIDER_PROTOCOL_ERROR,
        "",
        {},
    ),
    (
        "a list that is cut",
        behaviours.status(200, {}, b'[{"candidates":[{"content":{"parts":[{"text":"Hi"}]}}]'),
        Reason.PROVIDER_PROTOCOL_ERROR,
        "",
        {},
    ),
]


@pytest.mark.parametrize(
    ("behaviour", "reason", "text", "budget"), [row[1:] for row in FAILING], ids=[row[0] for row in FAILING]
)
async def test_it_fails_with_its_reason_after_what_came_before_and_asks_no_second_time(
    http: Http, behaviour: Behaviour, reason: Reason, text: str, budget: dict[str, Any]
) -> None:
    await check_failure(KIND, http, behaviour, reason, text, budget)


async def test_a_prompt_that_is_blocked_says_why(http: Http) -> None:
    async with Provider(behaviours.stream(recorded(KIND, "blocked_prompt"))) as provider:
        failure = (await ask(make(KIND, http, provider.base_url))).failure
    assert failure is not None
    assert failure.metadata["category"] == "PROHIBITED_CONTENT"


@pytest.mark.parametrize(
    "behaviour",
    [
        behaviours.stream(GOOD),
        behaviours.stream(GOOD, cuts=range(len(GOOD))),
        behaviours.raw(CHUNKED + b"%x\r\n%b\r\n" % (len(GOOD), GOOD), then="reset"),
        behaviours.raw(CHUNKED + b"%x\r\n%b\r\n" % (len(GOOD), GOOD), then="keep"),
        behaviours.status(200, {}, b"[" + GOOD.replace(b"data: ", b"").strip().replace(b"\n\n", b",") + b"]"),
    ],
    ids=["all in one", "byte by byte", "a reset after its reason", "no end of the body", "a list that is no stream"],
)
async def test_it_is_a_whole_reply(http: Http, behaviour: Behaviour) -> None:
    last = await check_whole(KIND, http, behaviour, "gemini-2.5-flash", "Hello there!")
    assert last.usage.output_tokens == 9


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-2.5-flash", "/v1/models/gemini-2.5-flash:streamGenerateContent?alt=sse"),
        ("tunedModels/x", "/v1/tunedModels/x:streamGenerateContent?alt=sse"),
        ("a b?c", "/v1/models/a%20b%3Fc:streamGenerateContent?alt=sse"),
    ],
)
async def test_the_key_goes_in_a_header_and_never_in_the_address(http: Http, model: str, path: str) -> None:
    async with Provider(behaviours.stream(GOOD)) as provider:
        await ask(make(KIND, http, provider.base_url), replace(REQUEST, model=model))
    request = provider.requests[0]
    assert (request.method, request.path) == ("POST", path)
    assert request.headers["x-goog-api-key"] == KEY
    assert "authorization" not in request.headers


async def test_what_cannot_be_asked_for_is_refused_before_anything_is_sent(http: Http) -> None:
    async with Provider(behaviours.stream(GOOD)) as provider:
        wire = make(KIND, http, provider.base_url)
        for options in (ChatOptions(logit_bias=((1, 2.0),)), ChatOptions(stop=tuple("abcdef"))):
            outcome = await ask(wire, replace(REQUEST, options=options))
            assert outcome.failure is not None
            assert outcome.failure.reason is Reason.MODEL_FEATURE_UNSUPPORTED
        assert provider.connections == []


async def test_two_rounds_of_tools_have_ids_of_their_own_and_signatures_go_back(http: Http) -> None:
    tools = recorded(KIND, "tools_in_one_chunk")

    async def behave(exchange: Exchange) -> None:
        await behaviours.stream(tools if exchange.number < 2 else GOOD)(exchange)

    history = list(REQUEST.messages)
    ids: list[str] = []
    async with Provider(behave) as provider:
        wire = make(KIND, http, provider.base_url)
        for _ in range(3):
            outcome = await ask(wire, ChatRequest("gemini-3-pro", messages=tuple(history)))
            last = outcome.events[-1]
            assert isinstance(last, Finished)
            called = [event.tool_use.tool_id for event in outcome.events if isinstance(event, ToolCalled)]
            history += last.messages
            history += (Message(Role.TOOL, tool_result=ToolResult(tool_id, f"to {tool_id}")) for tool_id in called)
            ids += called
    assert len(set(ids)) == 4
    turns = provider.requests[2].json()["contents"]
    assert [turn["role"] for turn in turns] == ["user", "model", "user", "model", "user"]
    assert [part.get("thoughtSignature") for part in turns[1]["parts"]] == ["CpcBAVSoXO5VPM9", None]
    answers = [part["functionResponse"] for turn in (turns[2], turns[4]) for part in turn["parts"]]
    assert [answer["response"]["output"] for answer in answers] == [f"to {tool_id}" for tool_id in ids]
    assert {answer["name"] for answer in answers} == {"get_weather"}
    assert "id" not in json.dumps(answers[0])


async def test_leaving_closes_the_socket(http: Http) -> None:
    await check_cancel(KIND, http)


async def test_leaving_before_the_head_closes_the_socket(http: Http) -> None:
    await check_silent_cancel(KIND, http)
