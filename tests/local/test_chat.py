from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from stepwired.local import models
from stepwired.local.process import Address, Child
from stepwired.local.supervisor import Supervisor
from tests.local.conftest import bearer, of_process, post

QUESTION: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Name three colours."}],
    "temperature": 0,
    "seed": 1,
    "max_tokens": 24,
}


@pytest.fixture
async def address(supervisor: Supervisor) -> Address:
    return await supervisor.model("smollm2").address()


async def stream(http: aiohttp.ClientSession, address: Address, body: dict[str, Any]) -> list[dict[str, Any]]:
    headers = bearer(address)
    async with http.post(
        address.base_url + "/chat/completions", json={**body, "stream": True}, headers=headers
    ) as answer:
        assert answer.status == 200
        lines = (await answer.text()).split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


async def test_a_reply_is_streamed_and_the_same_each_time_at_temperature_0(
    http: aiohttp.ClientSession, address: Address
) -> None:
    chunks = await stream(http, address, QUESTION)
    text = text_of(chunks)
    assert len(chunks) > 10
    assert len(text) > 20
    for _ in range(2):
        assert text_of(await stream(http, address, QUESTION)) == text
    _, whole = await post(http, address, "/chat/completions", QUESTION)
    assert whole["choices"][0]["message"]["content"] == text


async def test_usage_comes_last_when_asked_for_and_the_model_is_named(
    http: aiohttp.ClientSession, address: Address
) -> None:
    chunks = await stream(http, address, {**QUESTION, "model": "gpt-4", "stream_options": {"include_usage": True}})
    assert {chunk["model"] for chunk in chunks} == {"smollm2"}
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 24
    assert chunks[-1]["usage"]["prompt_tokens"] > 5


async def test_the_model_list_names_the_model_and_tells_no_path(http: aiohttp.ClientSession, address: Address) -> None:
    async with http.get(address.base_url + "/models", headers=bearer(address)) as answer:
        text = await answer.text()
    assert json.loads(text)["data"][0]["id"] == "smollm2"
    assert ".gguf" not in text


async def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(
    http: aiohttp.ClientSession, address: Address
) -> None:
    body = {"messages": [{"role": "user", "content": "word " * 5000}]}
    status, answer = await post(http, address, "/chat/completions", body)
    assert (status, answer["error"]["type"]) == (400, "exceed_context_size_error")
    assert (answer["error"]["n_ctx"], answer["error"]["n_prompt_tokens"] > 5000) == (4096, True)


async def test_only_health_is_answered_without_the_key(http: aiohttp.ClientSession, address: Address) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        status, _ = await post(http, address, "/chat/completions", QUESTION, headers)
        assert status == 401
    for path in ("/v1/models", "/props", "/slots", "/metrics", "/completion"):
        async with http.get(address.base_url.removesuffix("/v1") + path) as answer:
            assert answer.status in {401, 404}
    async with http.get(address.base_url.removesuffix("/v1") + "/health") as answer:
        assert answer.status == 200


async def test_a_schema_shapes_the_reply(http: aiohttp.ClientSession, address: Address) -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}},
        "required": ["colour"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    _, answer = await post(http, address, "/chat/completions", {**QUESTION, "response_format": wanted})
    assert json.loads(answer["choices"][0]["message"]["content"])["colour"] in {"red", "blue"}


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_caller_who_hangs_up_frees_the_only_slot(
    http: aiohttp.ClientSession, data_dir: Path, streamed: bool
) -> None:
    model = models.find(data_dir, "smollm2")
    assert model is not None
    child = await Child.start(
        ["chat", "--model", str(model.files[0]), "--name", "x", "--slots", "1", "--context-length", "8192"], "x", 60
    )
    try:
        # Without a hang-up it would write for a minute, and longer on a slow machine.
        endless = {**QUESTION, "max_tokens": 8000, "ignore_eos": True, "stream": streamed}
        url, headers = child.address.base_url + "/chat/completions", bearer(child.address)
        if streamed:
            async with http.post(url, json=endless, headers=headers) as answer:
                for _ in range(3):
                    await answer.content.readline()
                answer.close()
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(http.post(url, json=endless, headers=headers), 1)
        async with asyncio.timeout(20):  # hang protection
            status, _ = await post(http, child.address, "/chat/completions", {**QUESTION, "max_tokens": 1})
        assert status == 200
    finally:
        await child.end()


async def test_the_key_is_not_on_the_command_line_nor_in_the_environment(supervisor: Supervisor) -> None:
    model = supervisor.model("smollm2")
    address = await model.address()
    assert address.api_key not in repr(address)
    for name in ("cmdline", "environ"):
        assert address.api_key.encode() not in of_process(model.pid, name)
