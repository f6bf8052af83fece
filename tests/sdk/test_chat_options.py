"""What is sent of the options of a chat, of a count of tokens, and of keys."""

from __future__ import annotations

import json

import pytest

from stepwire import AsyncClient, errors
from tests.sdk.scripted import Server
from tests.sdk.tooling import Place


async def test_steps_formats_ids_and_keys_are_sent(client: AsyncClient, server: Server) -> None:
    schema = {"type": "object", "b": 1, "a": 2}
    for ask in (client.chat, client.count_tokens):
        await ask(
            "hi",
            tools=["upper", "text.lower@2", {"name": "find", "schema": {"type": "object"}}],
            response_format=schema,
            provider_key="sk-mine",
        )
    sent = server.script.last("Chat")
    assert [(tool.name, tool.step) for tool in sent.options.tools] == [
        ("upper", "upper"),
        ("text_lower", "text.lower@2"),
        ("find", ""),
    ]
    assert json.loads(sent.options.response_format.schema_json) == schema
    assert server.script.last("CountTokens").options == sent.options
    assert all(metadata["x-provider-key"] == "sk-mine" for metadata in server.script.metadata)
    await client.chat("hi", request_id="r1", response_format="json")
    sent = server.script.last("Chat")
    assert (sent.request_id, sent.options.response_format.json_object) == ("r1", True)
    await client.chat("hi", response_format=Place)
    assert "near" in server.script.last("Chat").options.response_format.schema_json
    await client.chat("hi")
    assert not server.script.last("Chat").HasField("options")
    assert "x-provider-key" not in server.script.metadata[-1]


async def test_a_format_that_is_none_is_refused(client: AsyncClient) -> None:
    with pytest.raises(errors.InvalidRequest):
        await client.chat("hi", response_format="xml")


async def test_tokens_are_counted(client: AsyncClient) -> None:
    count = await client.count_tokens("a b c")
    assert (int(count), count.is_estimated, count.model, count.context_length) == (3, True, "scripted-1", 100)
