"""A reply of the OpenAI wire that comes as one JSON, though a stream was asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwired.errors import Failure, Reason
from stepwired.events import (
    ChatOptions,
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    Started,
    TextDelta,
    Tool,
    ToolCallDelta,
    ToolCalled,
    ToolUse,
    Usage,
    UsageSource,
)
from stepwired.providers.refusing.refusals import Asked
from stepwired.providers.wires.openai.stream import OpenAIDecoder
from stepwired.providers.wires.quirks import VENDORS
from tests.fakeprov import Provider, behaviours
from tests.providers.conftest import Wire, ask

JSON = {"content-type": "application/json; charset=utf-8"}


def completion(message: dict[str, Any], finish: str | None = "stop", **more: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish, "logprobs": None}
    said = {"id": "1", "object": "chat.completion", "model": "fake-1", "choices": [choice]}
    return json.dumps(said | more).encode()


def behaviours_of(body: bytes) -> Provider:
    return Provider(behaviours.stream(body, JSON))


def read(body: bytes, options: ChatOptions | None = None) -> list[Event]:
    decoder = OpenAIDecoder(Asked("acme", "gpt-x"), options=options)
    return decoder.feed_whole(body) + decoder.end()


def test_it_gives_the_events_of_a_stream() -> None:
    body = completion({"content": "Hello", "reasoning_content": "hm", "refusal": None}, usage={"prompt_tokens": 3})
    *events, last = read(body)
    assert events == [Started("fake-1", "acme"), ReasoningDelta("hm"), TextDelta("Hello")]
    assert isinstance(last, Finished)
    assert (last.reason, last.usage) == (FinishReason.STOP, Usage(UsageSource.PROVIDER, 3))


@pytest.mark.parametrize(
    ("cost", "told"),
    [(0.0125, 0.0125), (0, 0.0), (-1, None), (True, None), ("0.1", None), (None, None)],
)
def test_a_cost_that_openrouter_says_is_the_cost_and_elsewhere_nobody_knows_its_unit(
    cost: Any, told: float | None
) -> None:
    body = completion({"content": "Hello"}, usage={"prompt_tokens": 3, "cost": cost})
    for vendor, expected in (("openrouter", told), ("openai", None)):
        decoder = OpenAIDecoder(Asked("acme", "gpt-x"), quirks=VENDORS[vendor])
        last = (decoder.feed_whole(body) + decoder.end())[-1]
        assert isinstance(last, Finished)
        assert (last.usage.cost_usd, last.usage.input_tokens) == (expected, 3)


def test_its_tool_calls_are_whole_and_apart_whatever_they_say() -> None:
    calls = [{"id": "c", "function": {"name": "look", "arguments": arguments}} for arguments in ('{"a":1}', {"a": 2})]
    events = read(completion({"content": None, "tool_calls": calls}, "tool_calls"))
    assert events[1:3] == [ToolCallDelta(0, "c", "look", '{"a":1}'), ToolCallDelta(1, "c", "look", '{"a":2}')]
    assert events[3:5] == [ToolCalled(at, ToolUse("c", "look", {"a": at + 1})) for at in (0, 1)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{}", Reason.PROVIDER_PROTOCOL_ERROR),
        (b"[]", Reason.PROVIDER_PROTOCOL_ERROR),
        (b"", Reason.PROVIDER_PROTOCOL_ERROR),
        (b'{"choices":[]}', Reason.PROVIDER_PROTOCOL_ERROR),
        (b'{"choices":' + b"[" * 100_000, Reason.PROVIDER_PROTOCOL_ERROR),
        (b'{"error":{"type":"overloaded_error"}}', Reason.PROVIDER_OVERLOADED),
        (b'{"object":"error","message":"slow down","code":429}', Reason.PROVIDER_RATE_LIMITED),
        (completion({"content": "a" * (1 << 20) + "a"}), Reason.PROVIDER_RESPONSE_TOO_LARGE),
    ],
    ids=["empty", "list", "nothing", "no choices", "deep", "error", "error object", "large"],
)
def test_what_is_no_reply_fails_with_nothing_told(body: bytes, reason: Reason) -> None:
    with pytest.raises(Failure) as failed:
        read(body)
    assert failed.value.reason is reason


async def test_it_is_read_from_the_socket(wire: Wire) -> None:
    async with behaviours_of(completion({"content": "Hello"})) as provider:
        outcome = await ask(wire(provider.base_url))
    assert (outcome.text, outcome.failure) == ("Hello", None)


async def test_it_is_read_in_a_thread_if_it_is_large(wire: Wire) -> None:
    async with behaviours_of(completion({"content": "ä" * 100_000})) as provider:
        outcome = await ask(wire(provider.base_url))
    assert len(outcome.text) == 100_000


async def test_it_is_read_as_far_as_a_reply_may_be_large(wire: Wire) -> None:
    body = completion({"content": "a"}, padding="x" * 5000)
    async with behaviours_of(body) as provider:
        outcome = await ask(wire(provider.base_url, text_bytes=500, tool_bytes=500))
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.PROVIDER_RESPONSE_TOO_LARGE


async def test_a_refusal_that_is_json_is_still_a_refusal(wire: Wire) -> None:
    async with Provider(behaviours.status(429, {}, {"error": {"code": "rate_limit_exceeded"}})) as provider:
        outcome = await ask(wire(provider.base_url))
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.PROVIDER_RATE_LIMITED


def test_its_tool_calls_are_checked() -> None:
    tool = Tool("look", schema=b'{"type":"object","required":["a"]}')
    body = completion({"tool_calls": [{"id": "c", "function": {"name": "look", "arguments": "{}"}}]})
    with pytest.raises(Failure) as failed:
        read(body, ChatOptions(tools=(tool,)))
    assert failed.value.reason is Reason.STRUCTURED_OUTPUT_INVALID
    assert failed.value.metadata["at"] == "$"
    assert failed.value.metadata["tool"] == "look"
