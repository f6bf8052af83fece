"""The guide's embeddings, in its own spelling: `stepwire.guide` has what is here."""

# ruff: noqa: N802  the guide's names

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import stepwire
from stepwire import errors
from stepwire._guide_abort import known, unless_aborted
from stepwire.v1.embed_pb2 import EmbeddingModel

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vector: TypeAlias = npt.NDArray[np.float32]

T = TypeVar("T")

_CALLBACKS = {"onSuccess", "onResult", "onError", "onDone", "onCancel"}


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that makes embeddings."""

    name: str

    dimensions: int
    """How many numbers an embedding has, of 4 bytes each."""


class Embeddings:
    """Vectors of texts, by the server's default model. An embedding is an array of float32, of shape `(dimensions,)`.

        embeddings = Embeddings(client)
        print(embeddings.getModel().dimensions)
        print(embeddings.generateEmbedding("Hello, world!"))

    Args:
        client: Makes the calls.
    """

    def __init__(self, client: stepwire.Client) -> None:
        self._client = client

    def getModel(self) -> ModelInfo:
        """Describe the model."""
        return _info(self._client.embedding_model())

    async def getModelAsync(self, options: Mapping[str, Any] | None = None) -> ModelInfo:
        """Describe the model. `signal` is the only option."""
        return _info(await self._awaited(lambda api: api.embedding_model(), options))

    def generateEmbedding(self, text: str) -> Vector:
        """Turn a text into a vector, and wait for it."""
        vector: Vector = self._client.embed([_checked(text)])[0]
        return vector

    async def generateEmbeddingAsync(self, text: str, options: Mapping[str, Any] | None = None) -> Vector:
        """Turn a text into a vector, awaited in any loop. `signal` is the only option."""
        return await self._awaited(lambda api: _one(api, text), options)

    def generateEmbeddingWithCallbacks(
        self, text: str, callbacks: Mapping[str, Callable[..., object]] | None = None
    ) -> Callable[[], None]:
        """Begin to turn a text into a vector; returns `cancel()`.

        Args:
            text: What to turn into a vector.
            callbacks: `onSuccess(embedding)`, or `onResult` as elsewhere, and `onError(error)`; then, however it ended,
                `onDone()`, just after `onCancel()` if it was cancelled.
        """
        told = known(callbacks or {}, _CALLBACKS)
        on_success = told.get("onSuccess") or told.get("onResult") or _ignore
        if inspect.iscoroutinefunction(on_success):
            raise TypeError("onSuccess is a coroutine function: callbacks are called, and not awaited")
        return self._client.start_with_callbacks(
            lambda api: _one(api, text),
            on_success,
            on_error=told.get("onError"),
            on_done=told.get("onDone"),
            on_cancel=told.get("onCancel"),
        )

    async def _awaited(
        self, call: Callable[[stepwire.AsyncClient], Awaitable[T]], options: Mapping[str, Any] | None
    ) -> T:
        client = self._client
        return await unless_aborted(lambda: client._portal.awaited(lambda: call(client._aio)), options)

    GetModel = getModel
    GetModelAsync = getModelAsync
    GenerateEmbedding = generateEmbedding
    GenerateEmbeddingAsync = generateEmbeddingAsync
    GenerateEmbeddingWithCallbacks = generateEmbeddingWithCallbacks


async def _one(api: stepwire.AsyncClient, text: str) -> Vector:
    vector: Vector = (await api.embed([_checked(text)]))[0]
    return vector


def _checked(text: object) -> str:
    if isinstance(text, str):
        return text
    why = f"what is of type {type(text).__name__} is no text"
    raise errors.InvalidRequest(why, code="INVALID_ARGUMENT", reason="INVALID_INPUT_TEXT")


def _info(model: EmbeddingModel) -> ModelInfo:
    return ModelInfo(model.name, model.dimensions)


def _ignore(_: object) -> None:
    pass
