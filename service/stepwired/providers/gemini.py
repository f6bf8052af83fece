"""Speaks the Gemini wire, `streamGenerateContent` and `batchEmbedContents`."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.events import ChatOptions, ChatRequest, Embeddings, EmbedRequest
from stepwired.providers.base import Address, Attempting, once
from stepwired.providers.decoder import Decoder
from stepwired.providers.embedding import embed
from stepwired.providers.gemini_embed import GeminiEmbed, model_path
from stepwired.providers.gemini_request import STOPS, generate_body
from stepwired.providers.gemini_stream import GeminiDecoder
from stepwired.providers.refusals import Asked
from stepwired.providers.wire import ChatWire


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

    def check_options(self, options: ChatOptions) -> None:
        super().check_options(options)
        wrong: list[tuple[str, str]] = []
        if options.parallel_tool_calls is False:
            wrong.append(("parallel_tool_calls", "Gemini cannot be kept from asking for several tools at once"))
        if len(options.stop) > STOPS:
            wrong.append(("stop", f"Gemini can be told {STOPS} texts to stop at, and not {len(options.stop)}"))
        if wrong:
            reason = Reason.MODEL_FEATURE_UNSUPPORTED
            raise InvalidRequest.of([Violation(f"options.{name}", why, reason) for name, why in wrong])

    async def embed(
        self, request: EmbedRequest, dimensions: int | None = None, attempt: Attempting = once
    ) -> Embeddings:
        """Turn texts into vectors; see `embedding.embed`."""
        return await embed(self, GeminiEmbed(), request, dimensions, attempt)
