"""Speaks the OpenAI wire, `chat/completions` and `embeddings`, to whatever server understands it."""

from __future__ import annotations

import asyncio
import math
import sys
from array import array
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from stepwired.events import ChatRequest, Embeddings, EmbedRequest
from stepwired.limits import KIB
from stepwired.providers import faults
from stepwired.providers.decoder import Decoder
from stepwired.providers.openai_request import chat_body, embed_body
from stepwired.providers.openai_shapes import MALFORMED, Embedded, Item, read_raw_usage
from stepwired.providers.openai_stream import OpenAIDecoder
from stepwired.providers.refusals import BODY_BYTES, Asked, of_event
from stepwired.providers.wire import ChatWire


class OpenAI(ChatWire):
    """One endpoint that speaks this wire; see `ChatWire`."""

    def chat_path(self, request: ChatRequest) -> str:
        return "chat/completions"

    def chat_body(self, request: ChatRequest) -> bytes:
        return chat_body(request, self.endpoint.quirks, self.endpoint.name)

    def decoder(self, asked: Asked, request: ChatRequest) -> Decoder:
        return OpenAIDecoder(
            asked, self.endpoint.budget, request.options, len(request.messages), self.endpoint.quirks
        )

    async def embed(self, request: EmbedRequest, dimensions: int | None = None) -> Embeddings:
        """Turn at most `Endpoint.embed_batch` texts into vectors; see `events.Embed`.

        Cost: 8 ms per 1000 vectors of 1536 numbers; ten times that if the server sends no base64. In a thread, unless
        they are few.

        Args:
            request: What to embed, with the provider's name of the model.
            dimensions: Length of the vectors, if known; else at most 4096 numbers are expected. An answer that is
                larger than such vectors can be is not read to its end.

        Raises:
            Failure: As `chat`; PROVIDER_PROTOCOL_ERROR if the vectors are not one for each text, of one length, finite.
        """
        address = await self.endpoint.at()
        count = len(request.texts)
        asked = Asked(self.endpoint.name, request.model, address.key(), count)
        budget = self.endpoint.budget
        most_bytes = _ROOM_BYTES + count * (dimensions or _DIMENSIONS) * _NUMBER_BYTES
        async with self.http.post(
            asked.provider,
            address.url("embeddings", request.model),
            embed_body(request.model, request.texts),
            headers=self.headers(address),
            budget=replace(budget, body_bytes=min(budget.body_bytes, most_bytes)),
        ) as reply:
            await self.check(reply, asked, ("application/json", ""))
            body = await reply.read_all()
        if len(body) <= _LIGHT_BYTES:
            return read_embeddings(asked, body, count, dimensions)
        return await asyncio.to_thread(read_embeddings, asked, body, count, dimensions)


_DIMENSIONS = 4096
_NUMBER_BYTES = 24
"""A number of a vector, written in decimal digits with a comma and room to spare."""

_ROOM_BYTES = 256 * KIB
"""For all that stands around the vectors."""

_LIGHT_BYTES = 64 * KIB
_FIELDS = 64
"""Commas of an item, or of a body, beside those in its vectors."""

_decode_embedded = msgspec.json.Decoder(Embedded).decode
_decode_item = msgspec.json.Decoder(Item).decode


def read_embeddings(asked: Asked, body: bytes, count: int, dimensions: int | None = None) -> Embeddings:
    """Read the answer to a request with `count` texts, items placed by their `index`.

    Raises:
        Failure: PROVIDER_PROTOCOL_ERROR, or what an error inside the body means.
    """
    try:
        rows, embedded = _read_rows(asked, body, count, max(dimensions or 0, _DIMENSIONS))
        usage = read_raw_usage(embedded.usage)
    except MALFORMED:
        raise faults.nonsense(asked.provider, "sent vectors that cannot be read") from None
    width = len(rows[0]) if rows else 0
    if not width or width % 4 or any(len(row) != width for row in rows):
        raise faults.nonsense(asked.provider, f"did not send one vector of one length for each of {count} texts")
    if not _is_finite(rows):
        raise faults.nonsense(asked.provider, "sent a vector with a number that is not finite")
    return Embeddings(embedded.model or asked.model, width // 4, tuple(rows), usage)


def _read_rows(asked: Asked, body: bytes, count: int, most_numbers: int) -> tuple[list[bytes], Embedded]:
    """Read vector by vector. A call for the whole would hold up the loop, whichever thread it is made in.

    Commas are counted first: no more values can come of a body than it has commas, and values are what takes memory.
    """
    if body.count(b",") > count * (most_numbers + _FIELDS) + _FIELDS:
        raise faults.nonsense(asked.provider, f"sent more than {count} vectors of {most_numbers} numbers")
    embedded = _decode_embedded(body)
    error = bytes(embedded.error)
    if error not in (b"", b"null"):
        raise of_event(asked, msgspec.json.decode(error) if len(error) <= BODY_BYTES else None)
    rows: list[bytes] = [b""] * count
    for place, data in enumerate(embedded.data):
        if bytes(data).count(b",") > most_numbers + _FIELDS:
            raise faults.nonsense(asked.provider, f"sent a vector of more than {most_numbers} numbers")
        item = _decode_item(data)
        index = place if item.index is None else item.index
        if not 0 <= index < count or rows[index]:
            raise faults.nonsense(asked.provider, f"sent a vector with index {index} for {count} texts")
        rows[index] = item.embedding if isinstance(item.embedding, bytes) else _floats(item.embedding)
    return rows, embedded


def _floats(numbers: list[float]) -> bytes:
    packed = array("f", numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _is_finite(rows: Sequence[bytes]) -> bool:
    """Whether no number is infinite or NaN. A sum shows it: sums of doubles that were floats cannot overflow."""
    if sys.byteorder == "little" and sum(map(len, rows)) <= 2 * _LIGHT_BYTES:
        # A few vectors, as from a search: not worth the 20 MB and 100 ms that importing numpy costs.
        return all(math.isfinite(sum(array("f", row))) for row in rows)
    import numpy as np

    return all(bool(np.isfinite(np.frombuffer(row, "<f4").sum(dtype=np.float64))) for row in rows)
