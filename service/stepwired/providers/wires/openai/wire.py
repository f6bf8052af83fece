"""Speaks the OpenAI wire, `chat/completions` and `embeddings`, to whatever server understands it."""

from __future__ import annotations

from stepwired.events import ChatRequest, Embeddings, EmbedRequest
from stepwired.providers.base import Attempting, once
from stepwired.providers.embedding.ask import embed
from stepwired.providers.reading.decoder import Decoder
from stepwired.providers.refusing.refusals import Asked
from stepwired.providers.wires.openai.calls import CallDecoder, in_words, is_by_format, is_call
from stepwired.providers.wires.openai.embed import OpenAIEmbed
from stepwired.providers.wires.openai.request import chat_body
from stepwired.providers.wires.openai.stream import OpenAIDecoder
from stepwired.providers.wires.wire import ChatWire


class OpenAI(ChatWire):
    """One endpoint that speaks this wire; see `ChatWire`."""

    def chat_path(self, request: ChatRequest) -> str:
        return "chat/completions"

    def chat_body(self, request: ChatRequest) -> bytes:
        if is_by_format(request.options, self.endpoint.quirks):
            request = in_words(request)
        return chat_body(request, self.endpoint.quirks, self.endpoint.name)

    def decoder(self, asked: Asked, request: ChatRequest) -> Decoder:
        quirks = self.endpoint.quirks
        reads_call = is_call(request.options) and is_by_format(request.options, quirks)
        kind = CallDecoder if reads_call else OpenAIDecoder
        return kind(asked, self.endpoint.budget, request.options, len(request.messages), quirks)

    async def embed(
        self, request: EmbedRequest, dimensions: int | None = None, attempt: Attempting = once
    ) -> Embeddings:
        """Turn texts into vectors; see `embedding.embed`."""
        return await embed(self, OpenAIEmbed(), request, dimensions, attempt)
