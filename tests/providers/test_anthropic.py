"""What becomes of what a server of the Anthropic wire does, on real sockets."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from stepwired.errors import Failure, InvalidRequest, Reason
from stepwired.events import (
    ChatOptions,
    ChatRequest,
    EmbedRequest,
    Finished,
    FinishReason,
    Message,
    ResponseFormat,
    ToolCalled,
)
from stepwired.providers.base import Address, Endpoint, ModelEntry, static
from stepwired.providers.catalogue.catalogue import Catalogue
from stepwired.providers.net.http import Http
from stepwired.providers.wires.table import WIRES
from tests.fakeprov import Behaviour, Provider, behaviours
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

KIND = "anthropic"
GOOD = recorded(KIND, "plain")
BEGUN = whole_events(GOOD, 4)


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | fields)}\n\n".encode()


def refused(status: int, kind: str, message: str = "no", **headers: str) -> Behaviour:
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    return behaviours.status(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


#: Name, behaviour, the failure's reason, the text that came before it, what the call was allowed.
FAILING: list[tuple[str, Behaviour, Reason, str, dict[str, Any]]] = [
    ("401", refused(401, "authentication_error", f"invalid x-api-key {KEY}"), Reason.PROVIDER_API_KEY_INVALID, "", {}),
    ("402", refused(402, "billing_error"), Reason.PROVIDER_ACCOUNT_PROBLEM, "", {}),
    ("403", refused(403, "permission_error"), Reason.PROVIDER_PERMISSION_DENIED, "", {}),
    ("404", refused(404, "not_found_error", "model: gpt-x"), Reason.MODEL_NOT_FOUND, "", {}),
    ("413", refused(413, "request_too_large"), Reason.PROVIDER_REQUEST_TOO_LARGE, "", {}),
    ("429", refused(429, "rate_limit_error", retry_after="2"), Reason.PROVIDER_RATE_LIMITED, "", {}),
    ("429 and no time", refused(429, "rate_limit_error"), Reason.PROVIDER_QUOTA_EXHAUSTED, "", {}),
    (
        "too long",
        refused(400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"),
        Reason.CONTEXT_LENGTH_EXCEEDED,
        "",
        {},
    ),
    ("400", refused(400, "invalid_request_error"), Reason.PROVIDER_REJECTED_REQUEST, "", {}),
    ("500", refused(500, "api_error"), Reason.PROVIDER_ERROR, "", {}),
    ("529", refused(529, "overloaded_error"), Reason.PROVIDER_OVERLOADED, "", {}),
    ("an error that is a 200", refused(200, "overloaded_error"), Reason.PROVIDER_OVERLOADED, "", {}),
    ("an error at once", behaviours.stream(recorded(KIND, "error_at_once")), Reason.PROVIDER_RATE_LIMITED, "", {}),
    (
        "an error in the middle",
        behaviours.stream(recorded(KIND, "error_overloaded")),
        Reason.PROVIDER_OVERLOADED,
        "Hel",
        {},
    ),
    ("an end without its mark", behaviours.stream(BEGUN), Reason.PROVIDER_STREAM_TRUNCATED, "Hello", {}),
    (
        "an end before its mark",
        behaviours.stream(recorded(KIND, "truncated_before_stop")),
        Reason.PROVIDER_STREAM_TRUNCATED,
        "Hello",
        {},
    ),
    (
        "a reset",
        behaviours.raw(CHUNKED + b"%x\r\n%b\r\n" % (len(BEGUN), BEGUN), then="finish"),
        Reason.PROVIDER_STREAM_TRUNCATED,
        "Hello",
        {},
    ),
    ("silence", behaviours.silent(), Reason.PROVIDER_TIMEOUT, "", {"first_byte_s": 0.2}),
    (
        "pings without end",
        behaviours.endless(event("ping") * 4, 0.02),
        Reason.PROVIDER_STREAM_STALLED,
        "",
        {"idle_s": 0.5},
    ),
    ("compressed", behaviours.stream(GOOD, {"content-encoding": "gzip"}), Reason.PROVIDER_RESPONSE_TOO_LARGE, "", {}),
    (
        "HTML",
        behaviours.status(200, {"content-type": "text/html"}, b"<html>"),
        Reason.PROVIDER_PROTOCOL_ERROR,
        "",
        {},
    ),
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
        behaviours.stream(
            BEGUN
            + event("content_block_start", index=1, content_block={"type": "thinking", "thinking": ""})
            + event("content_block_delta", index=1, delta={"type": "signature_delta", "signature": "x" * 600}) * 2
        ),
        Reason.PROVIDER_RESPONSE_TOO_LARGE,
        "Hello",
        {"text_bytes": 1024},
    ),
    (
        "blocks without end",
        behaviours.stream(
            BEGUN + b"".join(event("content_block_start", index=i, content_block={"type": "new"}) for i in range(300))
        ),
        Reason.PROVIDER_PROTOCOL_ERROR,
        "Hello",
        {},
    ),
    (
        "10,000 tool calls",
        behaviours.stream(
            whole_events(GOOD, 1)
            + b"".join(
                event("content_block_start", index=i, content_block={"type": "tool_use", "id": str(i), "name": "a"})
                + event("content_block_stop", index=i)
                for i in range(10_000)
            )
        ),
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


@pytest.mark.parametrize(
    "behaviour",
    [
        behaviours.stream(GOOD),
        behaviours.stream(GOOD, cuts=range(len(GOOD))),
        behaviours.stream(GOOD + event("content_block_delta", index=0, delta={"type": "text_delta", "text": "more"})),
        behaviours.raw(CHUNKED + b"%x\r\n%b\r\n" % (len(GOOD), GOOD), then="reset"),
        behaviours.raw(CHUNKED + b"%x\r\n%b\r\n" % (len(GOOD), GOOD), then="keep"),
    ],
    ids=["all in one", "byte by byte", "more after its end", "a reset after its end", "no end of the body"],
)
async def test_it_is_a_whole_reply(http: Http, behaviour: Behaviour) -> None:
    last = await check_whole(KIND, http, behaviour, "claude-opus-4-6", "Hello!")
    assert last.usage.input_tokens == 25


async def test_the_key_goes_in_a_header_of_its_own_with_the_version(http: Http) -> None:
    async with Provider(behaviours.stream(GOOD)) as provider:
        await ask(make(KIND, http, provider.base_url))
    request = provider.requests[0]
    assert (request.method, request.path) == ("POST", "/v1/messages")
    assert (request.headers["x-api-key"], request.headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert "authorization" not in request.headers


@pytest.mark.parametrize(("key", "header"), [("", ""), (KEY, "authorization")])
async def test_a_server_may_want_no_key_or_want_it_elsewhere(http: Http, key: str, header: str) -> None:
    async with Provider(behaviours.stream(GOOD)) as provider:

        async def where() -> Address:
            return Address(provider.base_url, key, header)

        async for _ in WIRES[KIND](Endpoint("acme", where, wire=KIND), http).chat(REQUEST):
            pass
    assert provider.requests[0].headers.get(header or "x-api-key") == (key or None)


async def test_a_reply_that_was_not_streamed_is_read_too(http: Http) -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": 1}}
    body = {
        "type": "message",
        "model": "claude-x",
        "content": [thought, {"type": "text", "text": "Hi"}, call],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3, "output_tokens": 5},
    }
    async with Provider(behaviours.status(200, {}, body)) as provider:
        outcome = await ask(make(KIND, http, provider.base_url))
    assert outcome.failure is None
    last = outcome.events[-1]
    assert isinstance(last, Finished)
    assert (last.reason, last.usage.output_tokens, outcome.text) == (FinishReason.TOOL_USE, 5, "Hi")
    assert [dict(event.tool_use.input) for event in outcome.events if isinstance(event, ToolCalled)] == [{"at": 1}]
    assert last.messages[0].reasoning is not None
    assert last.messages[0].reasoning.signature == b"c2ln"


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"type":"message","content":{}}'])
async def test_json_that_is_no_reply_is_none(http: Http, body: bytes) -> None:
    async with Provider(behaviours.status(200, {}, body)) as provider:
        outcome = await ask(make(KIND, http, provider.base_url))
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.PROVIDER_PROTOCOL_ERROR


@pytest.mark.parametrize(
    "options",
    [
        ChatOptions(seed=0),
        ChatOptions(presence_penalty=1.0),
        ChatOptions(frequency_penalty=1.0),
        ChatOptions(logit_bias=((1, 2.0),)),
        ChatOptions(top_logprobs=0),
        ChatOptions(reasoning_effort="low", response_format=ResponseFormat()),
    ],
)
async def test_what_cannot_be_asked_for_is_refused_before_anything_is_sent(http: Http, options: ChatOptions) -> None:
    async with Provider(behaviours.stream(GOOD)) as provider:
        outcome = await ask(make(KIND, http, provider.base_url), replace(REQUEST, options=options))
        assert provider.connections == []
    assert isinstance(outcome.failure, InvalidRequest)
    assert outcome.failure.reason is Reason.MODEL_FEATURE_UNSUPPORTED


async def test_a_format_that_a_tool_brings_is_the_replys_text(http: Http) -> None:
    schema = b'{"type":"object","properties":{"n":{"type":"integer"}}}'
    options = ChatOptions(response_format=ResponseFormat(schema))
    async with Provider(behaviours.stream(recorded(KIND, "structured_by_tool"))) as provider:
        outcome = await ask(make(KIND, http, provider.base_url), replace(REQUEST, options=options))
        assert provider.requests[0].json()["tool_choice"] == {"type": "tool", "name": "reply"}
    last = outcome.events[-1]
    assert isinstance(last, Finished)
    assert (last.structured, last.reason, outcome.text) == ({"n": 7}, FinishReason.STOP, '{"n": 7}')


async def test_what_it_thought_goes_back_to_it_unchanged(http: Http) -> None:
    async with Provider(behaviours.stream(recorded(KIND, "redacted"))) as provider:
        wire = make(KIND, http, provider.base_url)
        last = (await ask(wire)).events[-1]
        assert isinstance(last, Finished)
        again = ChatRequest("gpt-x", messages=(*REQUEST.messages, *last.messages, Message(text="And now?")))
        assert (await ask(wire, again)).failure is None
    content = provider.requests[1].json()["messages"][1]["content"]
    assert [block["type"] for block in content] == ["thinking", "redacted_thinking", "thinking", "text"]
    assert [block.get("signature") for block in content] == ["c2lnLTE=", None, "c2lnLTI=", None]


@pytest.mark.parametrize(("most", "asked", "sent"), [(8192, None, 8192), (8192, 5, 5), (None, None, 4096)])
async def test_a_reply_may_be_as_long_as_the_catalogue_says(
    http: Http, most: int | None, asked: int | None, sent: int
) -> None:
    async with Provider(behaviours.stream(GOOD)) as provider:
        endpoint = Endpoint("acme", static(provider.base_url, KEY), wire=KIND)
        models = Catalogue([endpoint], [ModelEntry("m", "chat", "acme", "claude-x", max_output_tokens=most)], http)
        request = replace(REQUEST, model="m", options=ChatOptions(max_tokens=asked))
        assert [event async for batch in models.chat(request) for event in batch]
        assert provider.requests[0].json()["max_tokens"] == sent


async def test_leaving_closes_the_socket(http: Http) -> None:
    await check_cancel(KIND, http)


async def test_leaving_before_the_head_closes_the_socket(http: Http) -> None:
    await check_silent_cancel(KIND, http)


async def test_it_makes_no_vectors(http: Http) -> None:
    with pytest.raises(Failure) as failed:
        await make(KIND, http, "http://127.0.0.1:1").embed(EmbedRequest(("a",), "m"))  # type: ignore[attr-defined]
    assert failed.value.reason is Reason.MODEL_FEATURE_UNSUPPORTED
