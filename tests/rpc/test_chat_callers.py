"""What a caller brings beside its request: a key, a deadline; and what it may ask without being answered by a model."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import json_format

from stepwire.v1 import chat_pb2, conversation_pb2, embed_pb2, message_pb2
from stepwired.errors import InvalidRequest, Reason
from stepwired.events import Batch, ChatRequest, Embeddings, EmbedRequest, Message, TokenCount, UsageSource, time_left_s
from stepwired.limits import Limits
from stepwired.store.sqlite import SqliteStore
from tests.imaging.corpus import drawn
from tests.rpc.keeping import Asking, refused, stored
from tests.rpc.serving import STARTED, count, echo, finished, serve, within

CANARY = "sk-canary-0123456789"
KEY = (("x-provider-key", CANARY),)


class Seen:
    """Remembers what the model was asked."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.asked: list[ChatRequest] = []
        self.left_s: list[float] = []
        self.failure = failure

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        self.asked.append(request)
        self.left_s.append(time_left_s())
        if self.failure is not None:
            raise self.failure
        yield [STARTED, finished("x")]

    async def count(self, request: ChatRequest) -> TokenCount:
        self.asked.append(request)
        return TokenCount(7, UsageSource.PROVIDER, "m")


async def test_the_callers_key_goes_to_the_model_and_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen = Seen()
    async with serve(seen, count_tokens=seen.count) as client:
        await client.chat.Chat(chat_pb2.ChatRequest(prompt="hi"), metadata=KEY)
        async for _ in client.chat.StreamChat(chat_pb2.StreamChatRequest(prompt="hi"), metadata=KEY):
            pass
        await client.chat.CountTokens(chat_pb2.CountTokensRequest(prompt="hi"), metadata=KEY)
        call = client.chat.Converse(metadata=KEY)
        await call.write(chat_pb2.ConverseRequest(chat=chat_pb2.StreamChatRequest(prompt="hi")))
        await call.done_writing()
        async for _ in call:
            pass
        await client.chat.Chat(chat_pb2.ChatRequest(prompt="hi"))
    assert [each.caller_key for each in seen.asked] == [CANARY] * 4 + [""]
    assert CANARY not in caplog.text
    assert CANARY not in repr(seen.asked)


@pytest.mark.parametrize(
    "failure", [ValueError(CANARY), InvalidRequest(Reason.PROVIDER_CALLER_KEY_INVALID, "invalid api key")]
)
async def test_a_failure_does_not_tell_the_key(failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serve(Seen(failure)) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.chat.Chat(chat_pb2.ChatRequest(prompt="hi"), metadata=KEY)
    assert CANARY not in caplog.text
    assert CANARY not in str(caught.value)
    assert CANARY not in str(caught.value.trailing_metadata())


@pytest.mark.parametrize("key", [" ", "x" * 4097])
async def test_what_can_be_no_key_is_refused_without_being_repeated(key: str) -> None:
    async with serve() as client:
        error = await refused(client.chat.Chat(chat_pb2.ChatRequest(prompt="hi"), metadata=(("x-provider-key", key),)))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "PROVIDER_CALLER_KEY_INVALID")
    assert "invalid api key" in error.message


async def test_the_model_is_told_how_much_time_the_call_has() -> None:
    seen = Seen()
    async with serve(seen) as client:
        await client.chat.Chat(chat_pb2.ChatRequest(prompt="hi"), timeout=30)
        await client.chat.Chat(chat_pb2.ChatRequest(prompt="hi"))
        async for _ in client.chat.StreamChat(chat_pb2.StreamChatRequest(prompt="hi"), timeout=30):
            pass
    assert [0 < left_s <= 60 for left_s in seen.left_s] == [True, False, True]
    assert seen.left_s[1] == float("inf")


async def test_the_callers_key_goes_along_with_texts_to_embed() -> None:
    keys: list[str] = []

    async def embed(request: EmbedRequest) -> Embeddings:
        keys.append(request.caller_key)
        return await count(request)

    async with serve(embed=embed) as client:
        await client.embed.Embed(embed_pb2.EmbedRequest(texts=["a"]), metadata=KEY)
        await client.embed.Search(embed_pb2.SearchRequest(query="a", documents=["b"]), metadata=KEY)
        async for _ in client.embed.StreamEmbeddings(embed_pb2.StreamEmbeddingsRequest(texts=["a"]), metadata=KEY):
            pass
        await client.embed.Search(embed_pb2.SearchRequest(query="a", documents=["b"]))
    assert keys == [CANARY, CANARY, CANARY, ""]


# --- CountTokens ---


def counting(**fields: Any) -> chat_pb2.CountTokensRequest:
    return json_format.ParseDict(fields, chat_pb2.CountTokensRequest())


async def test_tokens_are_counted_without_asking_a_model() -> None:
    seen = Seen()
    async with serve(seen) as client:
        counted = await client.chat.CountTokens(counting(prompt="a b c", messages=[{"text": "d"}]))
        assert (counted.input_token_count, counted.source) == (4, message_pb2.USAGE_SOURCE_ESTIMATED)
        assert (counted.model, counted.context_length) == ("echo-1", 100)
    assert seen.asked == []


async def test_an_unknown_context_length_is_not_told() -> None:
    async with serve(count_tokens=Seen().count) as client:
        assert not (await client.chat.CountTokens(counting(prompt="x"))).HasField("context_length")


async def test_a_stored_conversation_is_counted_as_it_would_be_sent_and_stays_as_it_is(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        said = [
            {"id": "a", "text": "one two"},
            {"id": "b", "text": "three", "metadata": {"hidden": True}},
            {"id": "c", "text": "four five"},
        ]
        request = json_format.ParseDict(
            {"conversation_id": "c", "messages": said},
            conversation_pb2.CreateConversationRequest(),
        )
        await client.conversations.CreateConversation(request)
        counts = [
            (await client.chat.CountTokens(counting(conversation_id="c", **more))).input_token_count
            for more in ({}, {"prompt": "six"}, {"parent_id": "a"})
        ]
        assert counts == [4, 5, 2]
        for fields, reason in (
            ({"conversation_id": "no"}, "CONVERSATION_NOT_FOUND"),
            ({"conversation_id": "c", "parent_id": "no"}, "MESSAGE_NOT_FOUND"),
            ({"parent_id": "a", "prompt": "x"}, "FIELD_INVALID"),
            ({}, "INVALID_CONVERSATION"),
            ({"prompt": "x", "options": {"top_p": 2}}, "MODEL_CONFIG_INVALID"),
        ):
            assert (await refused(client.chat.CountTokens(counting(**fields)))).reason == reason


async def test_a_stored_picture_costs_what_its_size_does_wherever_it_is_named(tmp_path: Path) -> None:
    seen = Seen()
    store = await SqliteStore.open(tmp_path)
    async with serve(seen, store=store, count_tokens=seen.count) as client:
        ask = Asking(client)
        image = {"blob_id": (await ask.upload(drawn("PNG", (40, 30)))).blob_id, "detail": "high"}
        await ask.CreateConversation(conversation_id="c", messages=[{"text": "this", "images": [image]}])
        await client.chat.CountTokens(counting(conversation_id="c", messages=[{"text": "and this", "images": [image]}]))
        error = await refused(
            client.chat.CountTokens(counting(messages=[{"images": [{"blob_id": "sha256:" + "0" * 64}]}]))
        )
    await store.close()
    assert error.reason == "BLOB_NOT_FOUND"
    (asked,) = seen.asked
    shown = [image for message in asked.messages for image in message.images]
    assert [(image.width, image.height, image.detail) for image in shown] == [(40, 30, "high")] * 2


async def test_a_conversation_longer_than_any_request_is_not_counted(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    await store.create("c", messages=[Message(text="x" * 100)])
    async with serve(echo, store=store, limits=Limits(request_text_bytes=50)) as client:
        error = await refused(within(client.chat.CountTokens(counting(conversation_id="c"))))
    await store.close()
    assert error.reason == "CONTEXT_LENGTH_EXCEEDED"
    assert "context length" in error.message
