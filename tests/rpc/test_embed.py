from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Sequence

import grpc
import grpc.aio
import pytest

from stepwire.v1 import embed_pb2
from stepwired.errors import InvalidRequest, Misconfigured, Reason, Throttled
from stepwired.events import Embeddings, EmbedRequest, ModelInfo
from tests.rpc.serving import Catalogue, count, serve, told, within

Outcome = embed_pb2.StreamEmbeddingsResponse


async def test_vectors_come_in_the_order_of_the_texts() -> None:
    async with serve() as client:
        reply = await client.embed.Embed(embed_pb2.EmbedRequest(texts=["cat", "a", "cat"]))
    assert [list(embedding.values) for embedding in reply.embeddings] == [[3, 1], [1, 1], [3, 1]]
    assert [embedding.index for embedding in reply.embeddings] == [0, 1, 2]
    assert {embedding.model for embedding in reply.embeddings} == {"count-1"}
    assert reply.usage.input_token_count == 3


@pytest.mark.parametrize("known", [True, False])
async def test_more_numbers_than_a_reply_holds_are_refused(*, known: bool) -> None:
    asked = 0

    async def embed(request: EmbedRequest) -> Embeddings:
        nonlocal asked
        asked += 1
        return Embeddings("wide", 4096, (bytes(4 * 4096),) * len(request.texts))

    info = ModelInfo("wide", (), "e", "wide", is_default=True, dimensions=4096 if known else None)
    async with serve(embed=embed, models=Catalogue(embeds=[info])) as client:
        fits = await client.embed.Embed(embed_pb2.EmbedRequest(texts=["x"] * 219))
        assert len(fits.embeddings) == 219
        asked = 0
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.embed.Embed(embed_pb2.EmbedRequest(texts=["x"] * 220))
    assert told(caught.value).reason == "RESPONSE_TOO_LARGE"
    assert asked == (0 if known else 1)  # nothing is paid for that cannot be sent


async def streamed(client_call: Sequence[str], embed: object = count, **options: bool) -> list[Outcome]:
    async with serve(embed=embed) as client:  # type: ignore[arg-type]
        request = embed_pb2.StreamEmbeddingsRequest(texts=client_call, **options)  # type: ignore[arg-type]
        return [outcome async for outcome in client.embed.StreamEmbeddings(request)]


async def test_each_text_has_an_outcome_and_a_blank_one_fails_by_itself() -> None:
    outcomes = {outcome.index: outcome for outcome in await streamed(["a", "", "bb", " \n", "a"])}
    assert sorted(outcomes) == [0, 1, 2, 3, 4]
    assert [list(outcomes[index].embedding.values) for index in (0, 2, 4)] == [[1, 1], [2, 1], [1, 1]]
    assert outcomes[2].embedding.index == 2
    for index in (1, 3):
        assert outcomes[index].failure.reason == "INVALID_INPUT_TEXT"
        assert outcomes[index].failure.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert not outcomes[index].failure.HasField("retry_delay")


async def test_what_may_help_later_says_when() -> None:
    async def embed(_: EmbedRequest) -> Embeddings:
        raise Throttled(Reason.PROVIDER_RATE_LIMITED, "rate limit", retry_after_s=2.5, metadata={"provider": "p"})

    (outcome,) = await streamed(["a"], embed)
    assert outcome.failure.retry_delay.ToMilliseconds() == 2500
    assert outcome.failure.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert dict(outcome.failure.metadata) == {"provider": "p"}


async def test_with_fail_fast_the_call_fails_as_its_text_did() -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await streamed(["", "a"], in_order=True, fail_fast=True)
    assert told(caught.value).reason == "INVALID_INPUT_TEXT"


async def test_what_concerns_every_text_fails_the_call() -> None:
    async def embed(_: EmbedRequest) -> Embeddings:
        raise Misconfigured(Reason.PROVIDER_API_KEY_INVALID, "invalid api key")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await streamed(["a"], embed)
    assert told(caught.value).reason == "PROVIDER_API_KEY_INVALID"


@pytest.mark.parametrize("texts", [["", "cat"], [" "]])
@pytest.mark.parametrize("in_order", [False, True])
async def test_a_model_that_is_none_fails_the_call_before_anything_is_sent(texts: list[str], *, in_order: bool) -> None:
    async with serve() as client:
        request = embed_pb2.StreamEmbeddingsRequest(texts=texts, model="nope", in_order=in_order)
        call = client.embed.StreamEmbeddings(request)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await within(call.read())
    error = told(caught.value)
    assert error.reason == "MODEL_NOT_FOUND"
    assert "partial" not in error.facts


@pytest.mark.parametrize("in_order", [False, True])
@pytest.mark.parametrize("reason", [Reason.MODEL_LOAD_FAILED, Reason.PROVIDER_NOT_CONFIGURED])
async def test_blank_texts_wait_until_the_model_is_known_to_work(reason: Reason, *, in_order: bool) -> None:
    async def embed(_: EmbedRequest) -> Embeddings:
        raise Misconfigured(reason, "it does not load")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await streamed(["", "a"], embed, in_order=in_order)
    error = told(caught.value)
    assert error.reason == reason
    assert "partial" not in error.facts


async def test_blank_texts_alone_have_their_outcomes() -> None:
    assert [outcome.index for outcome in await streamed(["", " ", ""], in_order=True)] == [0, 1, 2]


async def test_cancelling_the_call_stops_every_batch() -> None:
    running = 0
    all_run, all_stopped = asyncio.Event(), asyncio.Event()

    async def embed(_: EmbedRequest) -> Embeddings:
        nonlocal running
        running += 1
        if running == 4:
            all_run.set()
        try:
            await asyncio.Event().wait()
        finally:
            running -= 1
            if not running:
                all_stopped.set()
        raise AssertionError

    async with serve(embed=embed) as client:
        call = client.embed.StreamEmbeddings(embed_pb2.StreamEmbeddingsRequest(texts=map(str, range(1000))))
        reading = asyncio.ensure_future(call.read())
        await within(all_run.wait())
        call.cancel()
        await within(all_stopped.wait())
        await asyncio.gather(reading, return_exceptions=True)


async def test_search_ranks_by_cosine_and_breaks_ties_by_position() -> None:
    vectors = {"q": (1, 0), "same": (2, 0), "near": (1, 1), "off": (0, 3), "zero": (0, 0), "against": (-1, 0)}

    async def embed(request: EmbedRequest) -> Embeddings:
        return Embeddings("m", 2, tuple(struct.pack("<2f", *vectors[text]) for text in request.texts))

    documents = ["off", "near", "zero", "same", "against", "near"]
    async with serve(embed=embed) as client:
        reply = await client.embed.Search(embed_pb2.SearchRequest(query="q", documents=documents))
        best = await client.embed.Search(embed_pb2.SearchRequest(query="q", documents=documents, top_k=2))
    assert [hit.index for hit in reply.hits] == [3, 1, 5, 0, 2, 4]
    assert [hit.score for hit in reply.hits] == pytest.approx([1, math.sqrt(0.5), math.sqrt(0.5), 0, 0, -1])
    assert all(hit.HasField("index") and hit.HasField("score") for hit in reply.hits)
    assert reply.model == "m"
    assert [hit.index for hit in best.hits] == [3, 1]


async def test_search_fails_as_its_texts_do() -> None:
    async def embed(request: EmbedRequest) -> Embeddings:
        if "bad" in request.texts:
            raise InvalidRequest(Reason.CONTEXT_LENGTH_EXCEEDED, "exceeds the context length")
        return await count(request)

    async with serve(embed=embed) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.embed.Search(embed_pb2.SearchRequest(query="q", documents=["good", "bad"]))
    assert told(caught.value).reason == "CONTEXT_LENGTH_EXCEEDED"


async def test_models_are_described() -> None:
    async with serve() as client:
        (listed,) = (await client.embed.ListEmbeddingModels(embed_pb2.ListEmbeddingModelsRequest())).models
        assert (await client.embed.GetEmbeddingModel(embed_pb2.GetEmbeddingModelRequest(name="count"))).model == listed
    assert (listed.name, listed.dimensions, listed.is_default) == ("count", 2, True)
