"""Ollama's own wire: what is sent, what its refusals mean, and a reply over a socket."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from stepwired.errors import Failure, Reason
from stepwired.events import (
    ChatOptions,
    ChatRequest,
    EmbedRequest,
    Finished,
    FinishReason,
    Image,
    Message,
    Reasoning,
    ResponseFormat,
    Role,
    Tool,
    ToolResult,
    ToolUse,
)
from stepwired.providers.base import Endpoint, static
from stepwired.providers.net.http import Http
from stepwired.providers.wires.ollama.request import chat_body, chat_messages
from stepwired.providers.wires.ollama.wire import Ollama
from tests.fakeprov import Behaviour, Provider, behaviours
from tests.providers.conftest import KEY, REQUEST, ask
from tests.providers.wires import refused

LINES = {"content-type": "application/x-ndjson"}
SCHEMA = b'{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"integer"}}}'


def line(content: str = "", *, done: bool = False, **more: Any) -> bytes:
    said = {"model": "qwen3", "message": {"role": "assistant", "content": content}, "done": done}
    return json.dumps(said | more).encode() + b"\n"


GOOD = line("Hel") + line("lo") + line(done=True, done_reason="stop", prompt_eval_count=3, eval_count=2)


def sent(**given: Any) -> dict[str, Any]:
    request = ChatRequest("m", messages=(Message(text="hi"),), options=ChatOptions(**given))
    body: dict[str, Any] = json.loads(chat_body(request))
    return {name: value for name, value in body.items() if name not in ("model", "messages", "stream")}


def test_what_is_unset_is_not_sent() -> None:
    assert json.loads(chat_body(ChatRequest("m", messages=(Message(text="hi"),)))) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
    }


def test_options_are_sent_as_ollama_names_them() -> None:
    assert sent(
        temperature=0.0, top_p=0.5, max_tokens=7, stop=("a",), seed=0, presence_penalty=0.0, frequency_penalty=-1.0
    ) == {
        "options": {
            "temperature": 0.0,
            "top_p": 0.5,
            "num_predict": 7,
            "stop": ["a"],
            "seed": 0,
            "presence_penalty": 0.0,
            "frequency_penalty": -1.0,
        }
    }
    assert sent(top_logprobs=0) == {"logprobs": True}
    assert sent(top_logprobs=3) == {"logprobs": True, "top_logprobs": 3}


@pytest.mark.parametrize(("effort", "think"), [("none", False), ("low", "low"), ("xhigh", "max")])
def test_an_effort_says_whether_and_how_much_to_think(effort: str, think: Any) -> None:
    assert sent(reasoning_effort=effort) == {"think": think}


def test_tools_and_formats_are_sent_byte_for_byte() -> None:
    tool = Tool("look", "Looks.", SCHEMA)
    body = chat_body(
        ChatRequest("m", options=ChatOptions(tools=(tool,), response_format=ResponseFormat(SCHEMA, "thing")))
    )
    assert b'"parameters":' + SCHEMA in body
    assert b'"format":' + SCHEMA in body
    assert sent(response_format=ResponseFormat()) == {"format": "json"}
    assert sent(tools=(tool,), tool_choice="none") == {}
    assert [each["function"]["name"] for each in sent(tools=(tool,), tool_choice="auto")["tools"]] == ["look"]


def test_tool_uses_are_one_message_and_results_name_their_tool() -> None:
    history = [
        Message(Role.ASSISTANT, "I look.", Reasoning("hm", b"", "acme")),
        Message(Role.ASSISTANT, tool_use=ToolUse("1", "look", {"b": 1, "a": [2]})),
        Message(Role.ASSISTANT, tool_use=ToolUse("2", "hear", {})),
        Message(Role.TOOL, tool_result=ToolResult("2", "noise")),
        Message(Role.TOOL, tool_result=ToolResult("1", "light")),
        Message(Role.TOOL, tool_result=ToolResult("9", "?")),
    ]
    said = json.loads(chat_body(ChatRequest("m", "Be brief.", tuple(history)), "acme"))["messages"]
    assert said == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "assistant",
            "content": "I look.",
            "thinking": "hm",
            "tool_calls": [
                {"function": {"name": "look", "arguments": {"a": [2], "b": 1}}},
                {"function": {"name": "hear", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "light", "tool_name": "look"},
        {"role": "tool", "content": "noise", "tool_name": "hear"},
        {"role": "tool", "content": "?"},
    ]
    assert "thinking" not in chat_messages("", history, "other")[0]


def test_pictures_are_sent_by_their_bytes() -> None:
    message = Message(text="What?", images=(Image(data=b"png", media_type="image/png"),))
    said = json.loads(chat_body(ChatRequest("m", messages=(message,))))["messages"]
    assert said == [{"role": "user", "content": "What?", "images": [base64.b64encode(b"png").decode()]}]


def test_a_picture_by_its_address_is_refused_for_nobody_would_fetch_it() -> None:
    there, here = Image(uri="https://example.com/cat.png"), Image(data=b"png")
    message = Message(text="What?", images=(here, there))
    hidden = Message(images=(there,), metadata={"hidden": True})
    refusal = refused("ollama", ChatRequest("m", messages=(hidden, message)))
    assert refusal is not None
    assert [violation.field for violation in refusal.violations] == ["messages[1].images[1].uri"]
    assert refusal.metadata == {"model": "m", "feature": "images"}
    stored, ours = Image(blob_id="sha256:00"), Image(uri=there.uri, fetch=True)  # their bytes are put in later
    assert refused("ollama", ChatRequest("m", messages=(Message(images=(here, stored, ours)),))) is None


def test_a_result_that_is_an_error_says_so() -> None:
    history = [Message(Role.TOOL, tool_result=ToolResult("1", "no light", is_error=True))]
    assert chat_messages("", history) == [{"role": "tool", "content": "Error: no light"}]


def test_equal_requests_give_equal_bytes_whatever_the_order_of_keys() -> None:
    one, other = (
        ChatRequest("m", messages=(Message(Role.ASSISTANT, tool_use=ToolUse("1", "look", given)),))
        for given in ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    )
    assert chat_body(one) == chat_body(other)


def wire(provider: Provider, http: Http) -> Ollama:
    return Ollama(Endpoint("acme", static(provider.base_url, KEY), wire="ollama"), http)


async def outcome(behaviour: Behaviour, http: Http, request: ChatRequest = REQUEST) -> Any:
    async with Provider(behaviour) as provider:
        found = await ask(wire(provider, http), request)
        assert not provider.errors
    return found


async def test_a_reply_is_read_from_the_socket(http: Http) -> None:
    async with Provider(behaviours.stream(GOOD, LINES, cuts=(5, 60))) as provider:
        found = await ask(wire(provider, http))
        (request,) = provider.requests
    assert (found.text, found.failure) == ("Hello", None)
    last = found.events[-1]
    assert isinstance(last, Finished)
    assert (last.reason, last.usage.input_tokens, last.usage.output_tokens) == (FinishReason.STOP, 3, 2)
    assert request.path.endswith("/api/chat")
    assert request.headers["authorization"] == f"Bearer {KEY}"


async def test_a_reply_that_was_not_streamed_is_read_all_the_same(http: Http) -> None:
    whole = line("Hello", done=True, done_reason="stop")
    assert (await outcome(behaviours.stream(whole, {"content-type": "application/json"}), http)).text == "Hello"


@pytest.mark.parametrize(
    ("status", "said", "reason"),
    [
        (404, 'model "gpt-x" not found, try pulling it first', Reason.MODEL_NOT_FOUND),
        (404, "model 'gpt-x' not found", Reason.MODEL_NOT_FOUND),
        (500, "model requires more system memory (9.1 GiB) than is available (4.2 GiB)", Reason.MODEL_LOAD_FAILED),
        (500, "llama runner process has terminated: signal: killed", Reason.MODEL_LOAD_FAILED),
        (500, "unable to load model: /var/lib/ollama/blobs/x", Reason.MODEL_LOAD_FAILED),
        (400, "registry.ollama.ai/library/gemma:2b does not support tools", Reason.MODEL_FEATURE_UNSUPPORTED),
        (400, 'think value "low" is not supported for this model', Reason.MODEL_FEATURE_UNSUPPORTED),
        (500, 'invalid think value: "max" (must be "high", "medium", "low")', Reason.MODEL_FEATURE_UNSUPPORTED),
        (400, "invalid option", Reason.PROVIDER_REJECTED_REQUEST),
        (503, "server busy, please try again. maximum pending requests exceeded", Reason.PROVIDER_OVERLOADED),
        (500, "something", Reason.PROVIDER_ERROR),
    ],
)
async def test_a_refusal_is_told_by_what_ollama_says(status: int, said: str, reason: Reason, http: Http) -> None:
    found = await outcome(behaviours.status(status, {}, {"error": said}), http)
    assert found.failure is not None
    assert found.failure.reason is reason
    assert found.events == []


async def test_an_error_as_the_first_line_is_told_as_if_it_were_a_status(http: Http) -> None:
    body = json.dumps({"error": "model 'x' not found"}).encode() + b"\n"
    assert (await outcome(behaviours.stream(body, LINES), http)).failure.reason is Reason.MODEL_NOT_FOUND


async def test_a_line_without_an_end_is_read_as_far_as_an_event_may_be_large(http: Http) -> None:
    found = await outcome(behaviours.stream(line("a") + b"x" * (2 << 20), LINES), http)
    assert found.text == "a"
    assert found.failure.reason is Reason.PROVIDER_RESPONSE_TOO_LARGE


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (ChatOptions(tool_choice="required"), "options.tool_choice"),
        (ChatOptions(tool_choice="look"), "options.tool_choice"),
        (ChatOptions(reasoning_effort="minimal"), "options.reasoning_effort"),
        (ChatOptions(logit_bias=((1, 1.0),)), "options.logit_bias"),
        (ChatOptions(parallel_tool_calls=False), "options.parallel_tool_calls"),
        (ChatOptions(tools=(Tool("f"), Tool("g", strict=True))), "options.tools[1].strict"),
    ],
)
async def test_what_ollama_has_no_place_for_is_refused_before_it_is_asked(
    options: ChatOptions, field: str, http: Http
) -> None:
    async with Provider(behaviours.stream(GOOD, LINES)) as provider:
        found = await ask(wire(provider, http), ChatRequest("m", messages=REQUEST.messages, options=options))
        assert provider.requests == []
    assert isinstance(found.failure, Failure)
    assert found.failure.reason is Reason.MODEL_FEATURE_UNSUPPORTED
    assert [violation.field for violation in found.failure.violations] == [field]


async def test_texts_become_vectors(http: Http) -> None:
    body = json.dumps({"model": "m", "embeddings": [[1.0, 0.0], [0.0, 1.0]], "prompt_eval_count": 4}).encode()
    async with Provider(behaviours.stream(body, {"content-type": "application/json"})) as provider:
        found = await wire(provider, http).embed(EmbedRequest(("a", "b"), "m"))
    assert (found.dimensions, len(found.rows), found.usage.input_tokens) == (2, 2, 4)
