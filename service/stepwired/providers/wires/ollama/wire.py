"""Speaks Ollama's own wire: `api/chat`, a line of JSON for each piece, and `api/embed`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stepwired.errors import Failure
from stepwired.events import ChatRequest, Embeddings, EmbedRequest
from stepwired.providers.base import Attempting, once
from stepwired.providers.embedding.ask import embed
from stepwired.providers.reading.decoder import Decoder
from stepwired.providers.refusing.refusals import Asked, of_event, of_response
from stepwired.providers.wires.history import is_hidden
from stepwired.providers.wires.ollama.embed import OllamaEmbed
from stepwired.providers.wires.ollama.refusals import meant
from stepwired.providers.wires.ollama.request import EFFORTS, chat_body
from stepwired.providers.wires.ollama.stream import OllamaDecoder
from stepwired.providers.wires.wire import ChatWire


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

    def unsaid(self, request: ChatRequest) -> Iterator[tuple[str, str]]:
        for at, message in enumerate(request.messages):
            for place, image in enumerate(message.images):
                if image.uri and not image.fetch and not is_hidden(message):
                    yield f"messages[{at}].images[{place}].uri", "Ollama fetches no images: send their bytes"
        yield from super().unsaid(request)
        options = request.options
        if options.tool_choice not in ("", "auto", "none"):
            yield "options.tool_choice", "Ollama cannot be told that a tool has to be called"
        for place, tool in enumerate(options.tools):
            if tool.strict:
                yield f"options.tools[{place}].strict", "Ollama holds no model to the schema of a tool"

    def refusal(self, asked: Asked, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        return meant(asked, of_response(asked, status, headers, body))

    def refusal_within(self, asked: Asked, error: Any) -> Failure:
        return meant(asked, of_event(asked, error))

    async def embed(
        self, request: EmbedRequest, dimensions: int | None = None, attempt: Attempting = once
    ) -> Embeddings:
        """Turn texts into vectors; see `embedding.embed`."""
        return await embed(self, OllamaEmbed(), request, dimensions, attempt)
