"""The embedding calls of a client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING

from stepwire import _requests, _vectors, errors, results
from stepwire._connection import Connection
from stepwire.v1 import embed_pb2, message_pb2

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TEXTS_PER_CALL = 256
"""What one Embed call takes."""

TEXTS_PER_STREAM = 2048
"""What one StreamEmbeddings call takes."""

PAGE_SIZE = 1000


class EmbedCalls:
    """Turns texts into vectors and ranks documents by meaning."""

    _connection: Connection

    async def embed(
        self, texts: Iterable[str], *, model: str = "", timeout_s: float | None = None
    ) -> npt.NDArray[np.float32]:
        """Turn texts into vectors, all or none.

            vectors = await client.embed(["a kitten sleeps", "the market fell"])
            print(vectors.shape)  # (2, 384)

        Args:
            texts: `n` texts, none blank, each of at most 32 KiB. Above 256 they travel in several calls, in turn.
            model: Name or alias of an embedding model; empty for the server's default.
            timeout_s: Seconds for each call; None for the client's `long_timeout_s`.

        Returns:
            Array of shape `(n, d)`, float32, rows in the order of the texts.

        Raises:
            errors.Error: The call failed; the subclass says what to do.
        """
        todo = _requests.texts(texts, "texts")
        found: list[message_pb2.Embedding] = []
        for start in range(0, len(todo), TEXTS_PER_CALL):
            with _requests.checked():
                request = embed_pb2.EmbedRequest(texts=todo[start : start + TEXTS_PER_CALL], model=model)
            response = await self._connection.unary(self._connection.embed.Embed, request, timeout_s, is_long=True)
            if len(response.embeddings) != len(request.texts):
                raise errors.ServerError("there are not as many vectors as texts", code="INTERNAL")
            found.extend(response.embeddings)
        return _vectors.matrix(found)

    async def stream_embeddings(
        self,
        texts: Iterable[str],
        *,
        model: str = "",
        in_order: bool = False,
        fail_fast: bool = False,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[results.EmbeddingResult, None]:
        """Turn many texts into vectors, each with an outcome of its own, as soon as it is there.

            async for result in client.stream_embeddings(lines):
                print(result.index, result.error or result.vector)

        Leaving the loop early cancels the rest.

        Args:
            texts: Any number of texts, each of at most 32 KiB. Above 2,048 they travel in several calls, in turn.
            model: Name or alias of an embedding model; empty for the server's default.
            in_order: Wait with each outcome for those before it.
            fail_fast: Fail as soon as one text fails, instead of yielding its error.
            timeout_s: Seconds for each call; None for no limit but the client's `idle_s` between two outcomes.

        Raises:
            errors.Error: The request is wrong, or what failed concerns every text.
        """
        todo = _requests.texts(texts, "texts")
        for start in range(0, len(todo), TEXTS_PER_STREAM):
            with _requests.checked():
                request = embed_pb2.StreamEmbeddingsRequest(
                    texts=todo[start : start + TEXTS_PER_STREAM], model=model, in_order=in_order, fail_fast=fail_fast
                )
            async with aclosing(
                self._connection.stream(self._connection.embed.StreamEmbeddings, request, timeout_s)
            ) as responses:
                async for response in responses:
                    yield results.EmbeddingResult.of(response, first_index=start)

    async def search(
        self,
        query: str,
        documents: Iterable[str],
        *,
        top_k: int | None = None,
        model: str = "",
        timeout_s: float | None = None,
    ) -> list[results.SearchHit]:
        """Rank documents by how near their meaning is to that of a query, best first.

            for hit in await client.search("cat", ["the market fell", "a kitten sleeps"]):
                print(f"{hit.score:.2f} {hit.text}")

        Args:
            query: What to look for.
            documents: Where: 1 to 2,047 texts, none blank, each of at most 32 KiB.
            top_k: At most this many hits; None for all.
            model: Name or alias of an embedding model; empty for the server's default.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `long_timeout_s`.

        Raises:
            errors.Error: The call failed; the subclass says what to do.
        """
        where = _requests.texts(documents, "documents")
        with _requests.checked():
            request = embed_pb2.SearchRequest(query=query, documents=where, top_k=top_k, model=model)
        response = await self._connection.unary(self._connection.embed.Search, request, timeout_s, is_long=True)
        return [results.SearchHit(hit.index, hit.score, where[hit.index]) for hit in response.hits]

    async def embedding_models(self, *, timeout_s: float | None = None) -> list[embed_pb2.EmbeddingModel]:
        """List the models that make embeddings, by name.

            for model in await client.embedding_models():
                print(model.name, model.dimensions)

        Args:
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.Error: The call failed; the subclass says what to do.
        """
        found: list[embed_pb2.EmbeddingModel] = []
        request = embed_pb2.ListEmbeddingModelsRequest(page_size=PAGE_SIZE)
        while True:
            page = await self._connection.unary(self._connection.embed.ListEmbeddingModels, request, timeout_s)
            found.extend(page.models)
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def embedding_model(self, name: str = "", *, timeout_s: float | None = None) -> embed_pb2.EmbeddingModel:
        """Describe one model that makes embeddings.

            print((await client.embedding_model()).dimensions)

        Args:
            name: Name or alias; empty for the server's default.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.NotFound: No model has this name.
        """
        with _requests.checked():
            request = embed_pb2.GetEmbeddingModelRequest(name=name)
        return (await self._connection.unary(self._connection.embed.GetEmbeddingModel, request, timeout_s)).model
