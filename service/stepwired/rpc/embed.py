"""Serves `stepwire.v1.EmbedService`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import grpc

from stepwire.v1 import embed_pb2, embed_pb2_grpc
from stepwired.errors import Failure, Reason, Throttled
from stepwired.events import Embed, Embeddings, EmbedRequest
from stepwired.limits import Limits
from stepwired.rpc import vectors
from stepwired.rpc.callers import provider_key
from stepwired.rpc.convert.embeddings import embed_texts, embedding_model, outcome, search, stream_texts
from stepwired.rpc.convert.messages import usage_proto
from stepwired.rpc.models import Models
from stepwired.rpc.paging import page
from stepwired.steps.embedding import embed_all, embed_each
from stepwired.steps.similarity import rank

Context = grpc.aio.ServicerContext[Any, Any]


class EmbedServicer(embed_pb2_grpc.EmbedServiceServicer):
    """Texts as vectors, and search by meaning. Holds no state of its own.

    Args:
        embed: Makes vectors.
        models: Which there are.
        limits: Of texts and replies.
    """

    def __init__(self, embed: Embed, models: Models, limits: Limits) -> None:
        self._embed = embed
        self._models = models
        self._limits = limits

    async def Embed(self, request: embed_pb2.EmbedRequest, context: Context) -> embed_pb2.EmbedResponse:
        texts = embed_texts(request, self._limits)
        # Where the length is known beforehand, nothing is paid for that could not be sent.
        self._check_size(len(texts), self._models.info(request.model, "embed").dimensions or 0)
        made = await self._embed(EmbedRequest(texts, request.model, provider_key(context)))
        self._check_size(len(texts), made.dimensions)
        response = embed_pb2.EmbedResponse(usage=usage_proto(made.usage))
        for index, row in enumerate(made.rows):
            vectors.write(response.embeddings.add(), row, made.model, index)
        return response

    async def StreamEmbeddings(
        self, request: embed_pb2.StreamEmbeddingsRequest, context: Context
    ) -> AsyncGenerator[embed_pb2.StreamEmbeddingsResponse, None]:
        texts = stream_texts(request, self._limits)
        self._models.info(request.model, "embed")  # fails the call, where no text may be left to find out
        outcomes = embed_each(
            self._with_key(context),
            texts,
            model=request.model,
            in_order=request.in_order,
            fail_fast=request.fail_fast,
        )
        async with aclosing(outcomes) as batches:
            async for batch in batches:
                for made in batch:
                    yield outcome(made.index, made.result, made.model)

    async def Search(self, request: embed_pb2.SearchRequest, context: Context) -> embed_pb2.SearchResponse:
        query, documents, top_k = search(request, self._limits)
        (wanted, *rows), model = await embed_all(self._with_key(context), (query, *documents), model=request.model)
        hits = await rank(wanted, rows, top_k=top_k)
        return embed_pb2.SearchResponse(
            hits=[embed_pb2.SearchHit(index=index, score=score) for index, score in hits], model=model
        )

    async def ListEmbeddingModels(
        self, request: embed_pb2.ListEmbeddingModelsRequest, _: Context
    ) -> embed_pb2.ListEmbeddingModelsResponse:
        models, token = page(
            "ListEmbeddingModels",
            self._models.embed_models(),
            lambda info: info.name,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return embed_pb2.ListEmbeddingModelsResponse(models=map(embedding_model, models), next_page_token=token)

    async def GetEmbeddingModel(
        self, request: embed_pb2.GetEmbeddingModelRequest, _: Context
    ) -> embed_pb2.GetEmbeddingModelResponse:
        info = self._models.info(request.name, "embed")
        return embed_pb2.GetEmbeddingModelResponse(model=embedding_model(info))

    def _with_key(self, context: Context) -> Callable[[EmbedRequest], Awaitable[Embeddings]]:
        """`embed`, which is given the key that the caller brought, if it brought one."""
        if not (key := provider_key(context)):
            return self._embed
        return lambda request: self._embed(replace(request, caller_key=key))

    def _check_size(self, texts: int, dimensions: int) -> None:
        if texts * dimensions > self._limits.embed_floats:
            raise _too_many_numbers(texts, dimensions, self._limits)


def _too_many_numbers(texts: int, dimensions: int, limits: Limits) -> Failure:
    asked = f"{texts} vectors of {dimensions} numbers are more than {limits.embed_floats} numbers"
    facts = {"limitBytes": str(limits.reply_bytes)}
    return Throttled(Reason.RESPONSE_TOO_LARGE, f"{asked}: call StreamEmbeddings instead", metadata=facts)
