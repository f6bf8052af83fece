"""The embeddings of the Ollama wire: `api/embed`, vectors as numbers, in the order of the texts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stepwired.events import Usage
from stepwired.providers.embedding.ask import Answer, EmbedFormat
from stepwired.providers.embedding.vectors import packed
from stepwired.providers.reading.pieces import usage_of


class _Embedded(msgspec.Struct):
    embeddings: list[msgspec.Raw] = []
    model: str | None = None
    prompt_eval_count: int | float | None = None
    error: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Embedded).decode
_decode_item = msgspec.json.Decoder(list[float]).decode


class OllamaEmbed(EmbedFormat):
    """`api/embed`. A text that is too long is refused: cut, its vector would be that of another text."""

    most_texts = 256  # it names no limit: it works a request's texts off one by one

    def path(self, model: str) -> str:
        return "api/embed"

    def body(self, model: str, texts: Sequence[str]) -> bytes:
        return msgspec.json.encode({"model": model, "input": texts, "truncate": False})

    def answer(self, body: bytes) -> Answer:
        said = _decode(body)
        usage = Usage() if said.prompt_eval_count is None else usage_of(said.prompt_eval_count)
        return Answer(said.embeddings, said.model or "", usage, said.error)

    def vector(self, item: msgspec.Raw) -> tuple[int | None, bytes]:
        return None, packed(_decode_item(item))
