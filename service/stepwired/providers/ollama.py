"""Speaks Ollama's own wire: `api/chat`, a line of JSON for each piece, and `api/embed`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepwired.errors import Failure, InvalidRequest, Reason, Violation
from stepwired.events import ChatOptions, ChatRequest, Embeddings, EmbedRequest
from stepwired.providers.base import Attempting, once
from stepwired.providers.decoder import Decoder
from stepwired.providers.embedding import embed
from stepwired.providers.ollama_embed import OllamaEmbed
from stepwired.providers.ollama_refusals import meant
from stepwired.providers.ollama_request import EFFORTS, chat_body
from stepwired.providers.ollama_stream import OllamaDecoder
from stepwired.providers.refusals import Asked, of_event, of_response
from stepwired.providers.wire import ChatWire


class Ollama(ChatWire):
    """One Ollama server; see `ChatWire`."""

    content_types = ("application/x-ndjson", "application/jsonl", "text/plain", "")
    unsupported = frozenset({"logit_bias", "parallel_tool_calls"})
    efforts = tuple(EFFORTS)

    def chat_path(self, request: ChatRequest) -> str:
        return "api/chat"

    def chat_body(self, request: ChatRequest) -> bytes:
        return chat_body(request, self.endpoint.name)

    def decoder(self, asked: Asked, request: ChatRequest) -> Decoder:
        return OllamaDecoder(asked, self.endpoint.budget, request.options, len(request.messages))

    def check_options(self, options: ChatOptions) -> None:
        super().check_options(options)
        if options.tool_choice not in ("", "auto", "none"):
            why = "Ollama cannot be told that a tool has to be called"
            raise InvalidRequest.of([Violation("options.tool_choice", why, Reason.MODEL_FEATURE_UNSUPPORTED)])

    def refusal(self, asked: Asked, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        return meant(asked, of_response(asked, status, headers, body))

    def refusal_within(self, asked: Asked, error: Any) -> Failure:
        return meant(asked, of_event(asked, error))

    async def embed(
        self, request: EmbedRequest, dimensions: int | None = None, attempt: Attempting = once
    ) -> Embeddings:
        """Turn texts into vectors; see `embedding.embed`."""
        return await embed(self, OllamaEmbed(), request, dimensions, attempt)
