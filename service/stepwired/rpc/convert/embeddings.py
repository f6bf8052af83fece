"""Texts to embed in, vectors out."""

from __future__ import annotations

from collections.abc import Sequence

from stepwire.v1 import embed_pb2
from stepwired.chat_checks import MODEL_BYTES
from stepwired.errors import Failure, Reason
from stepwired.events import ModelInfo
from stepwired.limits import Limits
from stepwired.rpc import vectors
from stepwired.rpc.convert.values import failure_message
from stepwired.violations import Faults


def embed_texts(given: embed_pb2.EmbedRequest, limits: Limits) -> tuple[str, ...]:
    """Read the texts of an Embed call: none may be blank.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    _texts("texts", given.texts, limits.embed_texts, limits, faults, blank=False)
    faults.text("model", given.model, MODEL_BYTES)
    faults.stop()
    return tuple(given.texts)


def stream_texts(given: embed_pb2.StreamEmbeddingsRequest, limits: Limits) -> tuple[str, ...]:
    """Read the texts of a StreamEmbeddings call: a blank one fails by itself.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    _texts("texts", given.texts, limits.stream_embed_texts, limits, faults, blank=True)
    faults.text("model", given.model, MODEL_BYTES)
    faults.stop()
    return tuple(given.texts)


def search(given: embed_pb2.SearchRequest, limits: Limits) -> tuple[str, tuple[str, ...], int | None]:
    """Read what to look for, where, and how many hits are wanted.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    if not given.query:
        faults.add("query", "is needed", Reason.FIELD_REQUIRED)
    else:
        _text("query", given.query, limits, faults)
    _texts("documents", given.documents, limits.stream_embed_texts - 1, limits, faults, blank=False)
    top_k = given.top_k if given.HasField("top_k") else None
    if top_k is not None and top_k < 1:
        faults.add("top_k", f"is {top_k}, and must be at least 1")
    faults.text("model", given.model, MODEL_BYTES)
    faults.stop()
    return given.query, tuple(given.documents), top_k


def outcome(index: int, made: bytes | Failure, model: str) -> embed_pb2.StreamEmbeddingsResponse:
    """Write what came of one text."""
    if isinstance(made, Failure):
        return embed_pb2.StreamEmbeddingsResponse(index=index, failure=failure_message(made))
    response = embed_pb2.StreamEmbeddingsResponse(index=index)
    vectors.write(response.embedding, made, model, index)
    return response


def embedding_model(info: ModelInfo) -> embed_pb2.EmbeddingModel:
    """Write one model that makes embeddings."""
    return embed_pb2.EmbeddingModel(
        name=info.name,
        dimensions=info.dimensions or 0,
        aliases=info.aliases,
        provider=info.endpoint,
        provider_model=info.provider_model,
        is_default=info.is_default,
    )


def _texts(path: str, texts: Sequence[str], most: int, limits: Limits, faults: Faults, *, blank: bool) -> None:
    if not faults.count(path, len(texts), most, least=1):
        return
    total = 0
    for index, text in enumerate(texts):
        if not (blank and not text.strip()):
            total += _text(f"{path}[{index}]", text, limits, faults)
    if total > limits.request_text_bytes:
        faults.add(path, f"have {total} bytes together, and the limit is {limits.request_text_bytes}")


def _text(path: str, text: str, limits: Limits, faults: Faults) -> int:
    if not text.strip():
        faults.add(path, "is empty or blank", Reason.INVALID_INPUT_TEXT)
        return 0
    return faults.text(path, text, limits.embed_text_bytes, Reason.INVALID_INPUT_TEXT)
