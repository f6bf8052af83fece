"""Speaks the OpenAI wire, `chat/completions` and `embeddings`, to whatever server understands it."""

from __future__ import annotations

from stepwired.events import ChatRequest, Embeddings, EmbedRequest
from stepwired.providers.base import Attempting, once
from stepwired.providers.decoder import Decoder
from stepwired.providers.embedding import embed
from stepwired.providers.openai_embed import OpenAIEmbed
from stepwired.providers.openai_request import chat_body
from stepwired.providers.openai_stream import OpenAIDecoder
from stepwired.providers.refusals import Asked
from stepwired.providers.wire import ChatWire


class OpenAI(ChatWire):
    """One endpoint that speaks this wire; see `ChatWire`."""

    def chat_path(self, request: ChatRequest) -> str:
        return "chat/completions"

    def chat_body(self, request: ChatRequest) -> bytes:
        return chat_body(request, self.endpoint.quirks, self.endpoint.name)

    def decoder(self, asked: Asked, request: ChatRequest) -> Decoder:
        return OpenAIDecoder(asked, self.endpoint.budget, request.options, len(request.messages), self.endpoint.quirks)

    async def embed(
        self, request: EmbedRequest, dimensions: int | None = None, attempt: Attempting = once
    ) -> Embeddings:
        """Turn texts into vectors; see `embedding.embed`."""
        return await embed(self, OpenAIEmbed(), request, dimensions, attempt)
