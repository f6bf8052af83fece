"""What a model refuses is told in the words of the request that was sent, not in ours."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.events import Batch, Chat, ChatRequest, Embeddings, EmbedRequest, TextDelta
from tests.rpc.serving import STARTED
from tests.web.fronting import serve

BAD = Reason.MODEL_FEATURE_UNSUPPORTED
USER = {"role": "user", "content": "hi"}
CALLS = [
    {"id": "call_1", "function": {"name": "look", "arguments": "{}"}},
    {"id": "call_2", "function": {"name": "look", "arguments": "{}"}},
]
PICTURE = {
    "type": "image_url",
    "image_url": {"url": f"data:image/png;base64,{base64.b64encode(b'no picture').decode()}"},
}
#: Five of ours: the second of theirs is a text and two calls, the third is left out.
SAID: list[Any] = [
    USER,
    {"role": "assistant", "content": "I look.", "tool_calls": CALLS},
    {"role": "assistant", "content": ""},
    {"role": "user", "content": [{"type": "text", "text": "Look:"}, PICTURE, {"type": "text", "text": "and"}, PICTURE]},
]
TOOLS = [{"type": "function", "function": {"name": "look"}}]


def refusing(field: str, reason: Reason = BAD, *, begins: bool = False) -> Chat:
    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        if begins:
            yield [STARTED, TextDelta("Half")]
        raise InvalidRequest.of([Violation(field, "will not do", reason)])

    return chat


@pytest.mark.parametrize(
    ("field", "fields", "param"),
    [
        ("options.reasoning_effort", {"reasoning_effort": "low"}, "reasoning_effort"),
        ("options.stop", {"stop": "a"}, "stop"),
        ("options.tool_choice", {"tools": TOOLS, "tool_choice": "auto"}, "tool_choice"),
        ("options.tool_choice", {"tools": TOOLS}, "tool_choice"),  # which is to be added
        ("options.tools", {"tools": TOOLS}, "tools"),
        ("options.tools[0].strict", {"tools": TOOLS}, "tools[0].function.strict"),
        ("options.max_tokens", {"max_tokens": 7}, "max_tokens"),
        ("options.max_tokens", {"max_completion_tokens": 7, "max_tokens": 9}, "max_completion_tokens"),
        ("options.top_logprobs", {"logprobs": True, "top_logprobs": 2}, "top_logprobs"),
        ("options.top_logprobs", {"logprobs": True}, "logprobs"),
        ("options.response_format", {"response_format": {"type": "json_object"}}, "response_format"),
        ("model", {}, "model"),
        ("messages", {}, "messages"),
        ("messages[0]", {"messages": SAID}, "messages[0]"),
        ("messages[1].text", {"messages": SAID}, "messages[1].content"),
        ("messages[3]", {"messages": SAID}, "messages[1].tool_calls[1]"),
        ("messages[4].images[0].data", {"messages": SAID}, "messages[3].content[1].image_url.url"),
        ("messages[4].images[1].uri", {"messages": SAID}, "messages[3].content[3].image_url.url"),
        ("messages[4].images[1]", {"messages": SAID}, "messages[3].content[3].image_url.url"),
    ],
)
async def test_a_models_refusal_names_the_field_that_was_sent(field: str, fields: dict[str, Any], param: str) -> None:
    async with serve(refusing(field)) as front:
        whole = await front.chat(**fields)
        stream = await front.chat(stream=True, **fields)
    assert (whole.status, whole.error["param"]) == (400, param)
    assert whole.error["message"] == f"{param}: will not do"
    assert (stream.status, stream.error["param"], stream.error["message"]) == (400, param, whole.error["message"])


async def test_an_event_within_a_stream_names_the_field_that_was_sent() -> None:
    async with serve(refusing("options.reasoning_effort", begins=True)) as front:
        reply = await front.chat(stream=True, reasoning_effort="low")
    assert reply.events[-1]["error"]["param"] == "reasoning_effort"
    assert reply.events[-1]["error"]["message"] == "reasoning_effort: will not do"


async def test_what_a_provider_calls_a_field_is_left_as_it_says_it() -> None:
    async with serve(refusing("messages[7].content", Reason.PROVIDER_REJECTED_REQUEST)) as front:
        reply = await front.chat()
    assert reply.error["param"] == "messages[7].content"


@pytest.mark.parametrize(
    ("field", "given", "param"),
    [
        ("texts", ["a", "b"], "input"),
        ("texts[1]", ["a", "b"], "input[1]"),
        ("texts[0]", "a", "input"),
        ("model", "a", "model"),
    ],
)
async def test_a_refusal_to_embed_names_the_field_that_was_sent(field: str, given: Any, param: str) -> None:
    failure = InvalidRequest.of([Violation(field, "is too long", Reason.CONTEXT_LENGTH_EXCEEDED)])

    async def embed(_: EmbedRequest) -> Embeddings:
        raise failure

    async with serve(embed=embed) as front:
        reply = await front.ask("POST", "/v1/embeddings", {"input": given})
    assert (reply.error["param"], reply.error["message"]) == (param, f"{param}: is too long")
    assert failure.violations[0].field == field


async def test_all_faults_are_counted_and_the_first_is_named() -> None:
    async with serve() as front:
        reply = await front.chat(temperature=9, n=3, stop=[""])
    assert reply.status == 400
    assert reply.error["param"] == "temperature"
    assert reply.error["message"].endswith("(and 2 more)")
    assert reply.headers["x-should-retry"] == "false"
