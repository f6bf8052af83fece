"""Speaks the Gemini wire, `streamGenerateContent` and `batchEmbedContents`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import quote

from stepwired.events import ChatRequest, Embeddings, EmbedRequest
from stepwired.providers.base import Address, Attempting, once
from stepwired.providers.embedding.ask import embed
from stepwired.providers.reading.decoder import Decoder
from stepwired.providers.refusing.refusals import Asked
from stepwired.providers.wires.gemini.embed import GeminiEmbed, model_path
from stepwired.providers.wires.gemini.request import STOPS, effort_fault, generate_body
from stepwired.providers.wires.gemini.stream import GeminiDecoder
from stepwired.providers.wires.wire import ChatWire


class Gemini(ChatWire):
    """One endpoint that speaks this wire; see `ChatWire`. Its key is sent in a header and never in a URL."""

    unsupported = frozenset({"logit_bias"})

    def chat_path(self, request: ChatRequest) -> str:
        return f"{quote(model_path(request.model), safe='/')}:streamGenerateContent?alt=sse"

    def chat_body(self, request: ChatRequest) -> bytes:
        return generate_body(request, self.endpoint.name)

    def decoder(self, asked: Asked, request: ChatRequest) -> Decoder:
        return GeminiDecoder(asked, self.endpoint.budget, request.options, len(request.messages))

    def headers(self, address: Address) -> Mapping[str, str]:
        key = address.key()
        return address.headers() if address.key_header or not key else {"x-goog-api-key": key}

    def unsaid(self, request: ChatRequest) -> Iterator[tuple[str, str]]:
        yield from super().unsaid(request)
        options = request.options
        if options.parallel_tool_calls is False:
            yield "options.parallel_tool_calls", "Gemini cannot be kept from asking for several tools at once"
        if len(options.stop) > STOPS:
            yield "options.stop", f"Gemini can be told {STOPS} texts to stop at, and not {len(options.stop)}"
        if why := effort_fault(request.model, options.reasoning_effort):
            yield "options.reasoning_effort", why

    async def embed(
        self, request: EmbedRequest, dimensions: int | None = None, attempt: Attempting = once
    ) -> Embeddings:
        """Turn texts into vectors; see `embedding.embed`."""
        return await embed(self, GeminiEmbed(), request, dimensions, attempt)
