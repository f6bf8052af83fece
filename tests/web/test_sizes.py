"""What is large, or many, costs no one but those who send it: it is counted before it is read, and read aside."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from stepwired import jsonschemas, jsonvalue
from stepwired.errors import InvalidRequest
from stepwired.events import Batch, ChatOptions, ChatRequest, Json, Message
from stepwired.limits import Limits
from stepwired.web.convert.chat import chat_request
from tests.rpc.serving import finished
from tests.web.fronting import CHAT, HI, serve

USER = {"role": "user", "content": "hi"}


def calls(*arguments: str) -> list[Any]:
    """A conversation in which the model has called tools with this."""
    made = [{"id": f"c{at}", "function": {"name": "f", "arguments": each}} for at, each in enumerate(arguments)]
    results = [{"role": "tool", "tool_call_id": f"c{at}", "content": "x"} for at in range(len(arguments))]
    return [USER, {"role": "assistant", "tool_calls": made}, *results]


def faults(limits: Limits | None = None, **fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequest) as caught:
        chat_request({"messages": [USER]} | fields, limits or Limits())
    return [(violation.field, violation.description) for violation in caught.value.violations]


def test_values_of_arguments_are_counted_together_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(request_json_values=100)
    some = json.dumps({"a": [1] * 40})
    read: list[str] = []

    def reading(written: str) -> Json:
        read.append(written)
        return json.loads(written)  # type: ignore[no-any-return]

    monkeypatch.setattr(jsonvalue, "parse", reading)
    chat_request({"messages": calls(some, some)}, limits)
    found = faults(limits, messages=calls(some, some, some, "[" * 1000))
    place = "messages[1].tool_calls[{}].function.arguments"
    assert [field for field, _ in found] == [place.format(2), place.format(3)]
    assert "more than 100 values" in found[0][1]
    assert read == [some] * 4


def test_punctuation_within_texts_of_arguments_is_no_value() -> None:
    text = json.dumps({"code": "{[,:]}" * 100})
    chat_request({"messages": calls(*[text] * 5)}, Limits(request_json_values=50))


def test_arguments_count_with_the_texts() -> None:
    text = json.dumps({"a": "x" * 600})
    found = faults(Limits(request_text_bytes=1000), messages=calls(text, text))
    assert found[-1][0] == "messages"
    assert "bytes of text together" in found[-1][1]


@pytest.mark.parametrize(
    "fields",
    [
        {"stop": [1] * 40_000},
        {"modalities": [1] * 40_000},
        {"logit_bias": {f"x{at}": 1 for at in range(20_000)}},
        {"messages": [{"role": "user", "content": [1] * 40_000}]},
        {"messages": [{"role": "assistant", "tool_calls": [1] * 40_000}]},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_no_more_faults_are_found_than_anybody_reads(fields: dict[str, Any]) -> None:
    assert 1 <= len(faults(**fields)) <= 50


async def test_large_requests_are_read_and_checked_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    check = jsonschemas.compiled

    def checking(raw: bytes) -> Any:
        threads.append(threading.current_thread())
        return check(raw)

    monkeypatch.setattr(jsonschemas, "compiled", checking)
    schema = {"type": "object", "description": "x" * 20_000}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    async with serve() as front:
        assert (await front.chat(tools=[tool])).status == 200
        assert (await front.ask("POST", CHAT, HI)).status == 200
    assert threads
    assert threading.main_thread() not in threads


async def test_the_model_is_asked_what_the_request_says() -> None:
    asked: list[ChatRequest] = []

    async def chat(request: ChatRequest) -> AsyncGenerator[Batch, None]:
        asked.append(request)
        yield [finished("ok")]

    large = json.dumps(HI | {"messages": [USER, {"role": "user", "content": "é" * 300_000}]}).encode()
    async with serve(chat) as front:
        assert (await front.chat(model="echo", temperature=1)).status == 200
        assert (await front.ask("POST", "/v1/chat/completions", large)).status == 200
    assert asked[0] == ChatRequest("echo", messages=(Message(text="hi there"),), options=ChatOptions(temperature=1))
    assert asked[1].messages[1].text == "é" * 300_000
