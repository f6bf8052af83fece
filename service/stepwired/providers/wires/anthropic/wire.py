"""Speaks the Anthropic wire, `messages`, to whatever server understands it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from stepwired.events import ChatRequest, Embeddings, EmbedRequest
from stepwired.providers import faults
from stepwired.providers.base import Address, Attempting, once
from stepwired.providers.reading.decoder import Decoder
from stepwired.providers.refusing.refusals import Asked
from stepwired.providers.wires.anthropic.request import messages_body, reply_tool, unsaid
from stepwired.providers.wires.anthropic.stream import AnthropicDecoder
from stepwired.providers.wires.wire import ChatWire

_VERSION = "2023-06-01"


class Anthropic(ChatWire):
    """One endpoint that speaks this wire; see `ChatWire`."""

    unsupported = frozenset({"seed", "presence_penalty", "frequency_penalty", "logit_bias", "top_logprobs"})
    needs_max_tokens = True

    def chat_path(self, request: ChatRequest) -> str:
        return "messages"

    def chat_body(self, request: ChatRequest) -> bytes:
        return messages_body(request, self.endpoint.name)

    def decoder(self, asked: Asked, request: ChatRequest) -> Decoder:
        by_tool = reply_tool(request.options, request.model)
        return AnthropicDecoder(asked, self.endpoint.budget, request.options, len(request.messages), by_tool)

    def unsaid(self, request: ChatRequest) -> Iterator[tuple[str, str]]:
        yield from super().unsaid(request)
        yield from unsaid(request)

    def headers(self, address: Address) -> Mapping[str, str]:
        key = address.key()
        given = address.headers() if address.key_header or not key else {"x-api-key": key}
        return given | {"anthropic-version": _VERSION}

    async def embed(
        self, request: EmbedRequest, dimensions: int | None = None, attempt: Attempting = once
    ) -> Embeddings:
        """Refuse: MODEL_FEATURE_UNSUPPORTED."""
        raise faults.unsupported(request.model, "embeddings", "the anthropic wire makes no embeddings")
