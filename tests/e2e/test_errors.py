"""What a stock client is told, and what it does about it, when a provider is in trouble."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import grpc
import pytest

from stepwire.v1 import chat_pb2, chat_pb2_grpc, embed_pb2, embed_pb2_grpc
from tests.e2e.conftest import Scripted, settings
from tests.fakeprov import Behaviour, Provider, behaviours
from tests.program import HANG_S, running
from tests.rpc.serving import told

RETRIES = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": "stepwire.v1.ChatService"}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.01s",
                    "maxBackoff": "0.02s",
                    "backoffMultiplier": 1,
                    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
                },
            }
        ]
    }
)


READ = asyncio.Event()
"""Set when a reply's first event was read."""


async def test_a_stock_client_waits_as_the_provider_said_and_then_succeeds(scripted: Scripted) -> None:
    limited = behaviours.status(429, {"retry-after": "1"}, {"error": {"code": "rate_limit_exceeded"}})
    scripted.behave(behaviours.in_turn(limited, behaviours.reply(["o", "k"])))
    async with scripted.program.channel([("grpc.service_config", RETRIES)]) as channel:
        call = chat_pb2_grpc.ChatServiceStub(channel).StreamChat(
            chat_pb2.StreamChatRequest(prompt="hi"), timeout=HANG_S
        )
        text = "".join([event.text_delta.text async for event in call])
    assert text == "ok"
    first, second = (request.at for request in scripted.provider.requests)
    assert second - first >= 1.0  # not a measurement: the least that was promised


@pytest.mark.parametrize(
    ("behaviour", "code", "reason", "literal"),
    [
        (behaviours.status(401), "FAILED_PRECONDITION", "PROVIDER_API_KEY_INVALID", "invalid api key"),
        (behaviours.status(429), "RESOURCE_EXHAUSTED", "PROVIDER_RATE_LIMITED", "rate limit"),
        (
            behaviours.status(400, body={"error": {"code": "context_length_exceeded", "message": "secret"}}),
            "INVALID_ARGUMENT",
            "CONTEXT_LENGTH_EXCEEDED",
            "context length",
        ),
        (behaviours.status(503), "UNAVAILABLE", "PROVIDER_OVERLOADED", ""),
        (behaviours.hang_up(with_reset=True), "UNAVAILABLE", "PROVIDER_UNREACHABLE", ""),
        (behaviours.truncated(), "UNAVAILABLE", "PROVIDER_STREAM_TRUNCATED", ""),
        (behaviours.truncated(then="reset", release=READ), "UNAVAILABLE", "PROVIDER_STREAM_TRUNCATED", ""),
    ],
)
async def test_a_providers_failure_keeps_its_meaning_all_the_way(
    scripted: Scripted, behaviour: Behaviour, code: str, reason: str, literal: str
) -> None:
    scripted.behave(behaviour)
    async with scripted.program.channel() as channel:
        call = chat_pb2_grpc.ChatServiceStub(channel).StreamChat(
            chat_pb2.StreamChatRequest(prompt="hi"), timeout=HANG_S
        )

        async def read() -> None:
            async for _ in call:
                READ.set()

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read()
    said = told(caught.value)
    assert (said.code.name, said.reason) == (code, reason)
    assert literal in said.message
    assert "secret" not in said.message
    assert said.request_id


async def test_vectors_come_through_as_the_provider_made_them(scripted: Scripted) -> None:
    scripted.behave(behaviours.embeddings(3, shuffled=True))
    async with scripted.program.channel() as channel:
        reply = await embed_pb2_grpc.EmbedServiceStub(channel).Embed(
            embed_pb2.EmbedRequest(texts=["a", "b", "a"]), timeout=HANG_S
        )
    assert [vector.index for vector in reply.embeddings] == [0, 1, 2]
    assert {len(vector.values) for vector in reply.embeddings} == {3}


async def test_a_key_that_is_not_set_is_the_operators_to_set(tmp_path: Path) -> None:
    async with Provider(behaviours.reply()) as provider:
        with_key = settings(provider).replace("[models.fake]", 'api_key_env = "NO_SUCH_KEY"\n[models.fake]', 1)
        async with running(tmp_path, with_key) as program, program.channel() as channel:
            with pytest.raises(grpc.aio.AioRpcError, match="NO_SUCH_KEY") as caught:
                await chat_pb2_grpc.ChatServiceStub(channel).Chat(chat_pb2.ChatRequest(prompt="hi"), timeout=HANG_S)
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert provider.requests == []
