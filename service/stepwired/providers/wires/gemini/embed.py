"""The embeddings of the Gemini wire: `batchEmbedContents`, vectors as numbers, in the order of the texts."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from stepwired.providers.embedding.ask import Answer, EmbedFormat, counted
from stepwired.providers.embedding.vectors import packed


class _Item(msgspec.Struct):
    values: list[float]


class _Embedded(msgspec.Struct, rename="camel"):
    embeddings: list[msgspec.Raw] = []
    usage_metadata: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Embedded).decode
_decode_item = msgspec.json.Decoder(_Item).decode


class GeminiEmbed(EmbedFormat):
    """`batchEmbedContents`. Each text of a batch names the model once more."""

    most_texts = 100

    def path(self, model: str) -> str:
        return f"{quote(model_path(model), safe='/')}:batchEmbedContents"

    def body(self, model: str, texts: Sequence[str]) -> bytes:
        name = model_path(model)
        requests = [{"model": name, "content": {"parts": [{"text": text}]}} for text in texts]
        return msgspec.json.encode({"requests": requests})

    def answer(self, body: bytes) -> Answer:
        said = _decode(body)
        return Answer(said.embeddings, usage=counted(said.usage_metadata, "promptTokenCount"), error=said.error)

    def vector(self, item: msgspec.Raw) -> tuple[int | None, bytes]:
        return None, packed(_decode_item(item).values)


def model_path(model: str) -> str:
    """The name of a model as a path: `models/x`, unless it is one already, as that of a tuned model."""
    return model if "/" in model else f"models/{model}"
