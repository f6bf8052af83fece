"""Speaks the Cohere wire, `v2/embed`. Its replies are not read: Cohere offers chat on the OpenAI wire, too."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stepwired.errors import Failure
from stepwired.events import ChatRequest, Embeddings, EmbedRequest
from stepwired.providers import faults
from stepwired.providers.base import Attempting, once
from stepwired.providers.embedding.ask import Answer, EmbedFormat, counted, embed
from stepwired.providers.embedding.vectors import packed
from stepwired.providers.reading.decoder import Decoder
from stepwired.providers.refusing.refusals import Asked
from stepwired.providers.wires.wire import ChatWire


class _ByType(msgspec.Struct):
    float: list[msgspec.Raw] = []


class _Embedded(msgspec.Struct):
    embeddings: _ByType | None = None
    meta: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Embedded).decode
_decode_item = msgspec.json.Decoder(list[float]).decode


class CohereEmbed(EmbedFormat):
    """`embed`. All texts are embedded as documents, as nobody says whether one is a query; none is cut."""

    most_texts = 96

    def path(self, model: str) -> str:
        return "embed"

    def body(self, model: str, texts: Sequence[str]) -> bytes:
        asked = {"input_type": "search_document", "embedding_types": ["float"], "truncate": "NONE"}
        return msgspec.json.encode({"model": model, "texts": texts} | asked)

    def answer(self, body: bytes) -> Answer:
        said = _decode(body)
        items = said.embeddings.float if said.embeddings else []
        return Answer(items, usage=counted(said.meta, "billed_units", "input_tokens"))

    def vector(self, item: msgspec.Raw) -> tuple[int | None, bytes]:
        return None, packed(_decode_item(item))


class Cohere(ChatWire):
    """One endpoint that speaks this wire."""

    def chat_path(self, request: ChatRequest) -> str:
        raise _no_chat(request.model)

    def chat_body(self, request: ChatRequest) -> bytes:
        raise _no_chat(request.model)

    def decoder(self, asked: Asked, request: ChatRequest) -> Decoder:
        raise _no_chat(request.model)

    async def embed(
        self, request: EmbedRequest, dimensions: int | None = None, attempt: Attempting = once
    ) -> Embeddings:
        """Turn texts into vectors; see `embedding.embed`."""
        return await embed(self, CohereEmbed(), request, dimensions, attempt)


def _no_chat(model: str) -> Failure:
    return faults.unsupported(model, "chat", "the cohere wire makes no replies: Cohere makes them on the openai wire")
