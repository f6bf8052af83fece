"""The embeddings of the OpenAI wire: base64 asked for, lists of numbers understood, placed by their index."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stepwired.providers.embedding.ask import Answer, EmbedFormat, counted
from stepwired.providers.embedding.vectors import packed


class _Item(msgspec.Struct):
    embedding: bytes | list[float]  # base64 becomes bytes while it is read
    index: int | None = None


class _Embedded(msgspec.Struct):
    data: list[msgspec.Raw] = []
    model: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Embedded).decode
_decode_item = msgspec.json.Decoder(_Item).decode


class OpenAIEmbed(EmbedFormat):
    """`embeddings`. Base64 is a quarter of the bytes of numbers, and a fiftieth of the time."""

    most_texts = 2048

    def path(self, model: str) -> str:
        return "embeddings"

    def body(self, model: str, texts: Sequence[str]) -> bytes:
        return msgspec.json.encode({"model": model, "input": texts, "encoding_format": "base64"})

    def answer(self, body: bytes) -> Answer:
        said = _decode(body)
        return Answer(said.data, said.model or "", counted(said.usage, "prompt_tokens"), said.error)

    def vector(self, item: msgspec.Raw) -> tuple[int | None, bytes]:
        said = _decode_item(item)
        return said.index, said.embedding if isinstance(said.embedding, bytes) else packed(said.embedding)
