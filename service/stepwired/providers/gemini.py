"""Speaks the Gemini wire, `streamGenerateContent` and `batchEmbedContents`."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from stepwired.events import ChatRequest, Embeddings, EmbedRequest
from stepwired.providers.base import Address
from stepwired.providers.decoder import Decoder
from stepwired.providers.embedding import embed
from stepwired.providers.gemini_embed import GeminiEmbed, model_path
from stepwired.providers.gemini_request import generate_body
from stepwired.providers.gemini_stream import GeminiDecoder
from stepwired.providers.refusals import Asked
from stepwired.providers.wire import ChatWire


class Gemini(ChatWire):
    """One endpoint that speaks this wire; see `ChatWire`. Its key is sent in a header and never in a URL."""

    def chat_path(self, request: ChatRequest) -> str:
        return f"{quote(model_path(request.model), safe='/')}:streamGenerateContent?alt=sse"

    def chat_body(self, request: ChatRequest) -> bytes:
        return generate_body(request, self.endpoint.name)

    def decoder(self, asked: Asked, request: ChatRequest) -> Decoder:
        return GeminiDecoder(asked, self.endpoint.budget, request.options, len(request.messages))

    def headers(self, address: Address) -> Mapping[str, str]:
        key = address.key()
        return address.headers() if address.key_header or not key else {"x-goog-api-key": key}

    async def embed(self, request: EmbedRequest, dimensions: int | None = None) -> Embeddings:
        """Turn texts into vectors; see `embedding.embed`."""
        return await embed(self, GeminiEmbed(), request, dimensions)
