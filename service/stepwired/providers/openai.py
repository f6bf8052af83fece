"""Speaks the OpenAI wire, `chat/completions` and `embeddings`, to whatever server understands it."""

from __future__ import annotations

import asyncio
import math
import sys
from array import array
from collections.abc import AsyncGenerator, Sequence

import msgspec

from stepwired.errors import Failure
from stepwired.events import Batch, ChatRequest, Embeddings, EmbedRequest
from stepwired.limits import KIB
from stepwired.providers import faults
from stepwired.providers.base import Address, Endpoint
from stepwired.providers.http import Http
from stepwired.providers.openai_request import chat_body, embed_body, image_bytes
from stepwired.providers.openai_shapes import MALFORMED, Embedded, read_usage
from stepwired.providers.openai_stream import Decoder
from stepwired.providers.refusals import BODY_BYTES, Asked, of_event, of_response
from stepwired.providers.reply import Reply

#: What servers call a stream of events, besides those that do not say what it is.
_STREAMS = ("text/event-stream", "text/plain", "application/octet-stream", "")

_LARGE_BYTES = 256 * KIB
"""From here on a request is written in a thread, so that nobody else waits for it."""


class OpenAI:
    """One endpoint that speaks this wire.

    Args:
        endpoint: Where, and what a call may take.
        http: Connections.
    """

    def __init__(self, endpoint: Endpoint, http: Http) -> None:
        self._endpoint = endpoint
        self._http = http

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        """Yield the events of one reply in batches, one batch per read; see `events.Chat`.

        Closing the generator closes the socket, which is how the provider learns to stop. Nothing is retried.

        Raises:
            Failure: As `RELIABILITY.md` §3.3 lists. Before the first batch nothing of the reply was made known.
        """
        address = await self._address()
        asked = Asked(self._endpoint.name, request.model, address.key())
        budget = self._endpoint.budget
        decoder = Decoder(asked, budget.event_bytes)
        is_large = image_bytes(request.messages) > _LARGE_BYTES
        body = await asyncio.to_thread(chat_body, request) if is_large else chat_body(request)
        del request
        async with self._http.post(
            asked.provider, f"{address.base_url}/chat/completions", body, key=asked.key, budget=budget
        ) as reply:
            del body  # it may have pictures in it, and the reply may take minutes
            await _check(reply, asked, _STREAMS)
            while chunk := await _read(reply, decoder):
                if batch := decoder.feed(chunk):
                    yield batch
                if decoder.is_done:
                    break
            if batch := decoder.end():
                yield batch
            await reply.finish()

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Turn at most `Endpoint.embed_batch` texts into vectors; see `events.Embed`.

        Cost: 8 ms on the loop per 1000 vectors of 1536 numbers; ten times that if the server sends no base64.

        Raises:
            Failure: As `chat`; PROVIDER_PROTOCOL_ERROR if the vectors are not one for each text, of one length, finite.
        """
        address = await self._address()
        asked = Asked(self._endpoint.name, request.model, address.key())
        async with self._http.post(
            asked.provider,
            f"{address.base_url}/embeddings",
            embed_body(request.model, request.texts),
            key=asked.key,
            budget=self._endpoint.budget,
        ) as reply:
            await _check(reply, asked, ("application/json", ""))
            body = await reply.read_all()
        return read_embeddings(asked, body, len(request.texts))

    async def _address(self) -> Address:
        address = await self._endpoint.address()
        name, variable = self._endpoint.name, self._endpoint.api_key_env
        if variable and not address.key():
            raise faults.unconfigured(name, f"{name} needs a key: set {variable} in the server's environment")
        return address


async def _read(reply: Reply, decoder: Decoder) -> bytes:
    """The next bytes; none at the end, or if the connection broke when the model had already stopped."""
    try:
        return await reply.read()
    except Failure:
        if decoder.has_reason:
            return b""
        raise


async def _check(reply: Reply, asked: Asked, content_types: Sequence[str]) -> None:
    """Refuse what is not the answer, by status, content type, or an error that calls itself a success."""
    if reply.status != 200:
        raise of_response(asked, reply.status, reply.headers, await _error_body(reply))
    if reply.content_type in content_types:
        return
    if reply.content_type == "application/json":
        body = await _error_body(reply)
        try:
            said = msgspec.json.decode(body)
        except MALFORMED:
            said = None
        if isinstance(said, dict) and said.get("error"):
            raise of_event(asked, said["error"])
    kind = "".join(letter for letter in reply.content_type[:60] if letter.isalnum() or letter in "/+-._")
    raise faults.nonsense(asked.provider, f"answered with content of type {kind}")


async def _error_body(reply: Reply) -> bytes:
    """The body of a refusal, as far as it comes: the status already says the most."""
    try:
        body = await reply.read_all(BODY_BYTES)
    except Failure:
        return b""
    await reply.finish()
    return body


_decode_embedded = msgspec.json.Decoder(Embedded).decode


def read_embeddings(asked: Asked, body: bytes, count: int) -> Embeddings:
    """Read the answer to a request with `count` texts, items placed by their `index`.

    Raises:
        Failure: PROVIDER_PROTOCOL_ERROR, or what an error inside the body means.
    """
    try:
        embedded = _decode_embedded(body)
    except MALFORMED:
        raise faults.nonsense(asked.provider, "sent vectors that cannot be read") from None
    if embedded.error is not None:
        raise of_event(asked, embedded.error)
    rows: list[bytes] = [b""] * count
    for place, item in enumerate(embedded.data):
        index = place if item.index is None else item.index
        if not 0 <= index < count or rows[index]:
            raise faults.nonsense(asked.provider, f"sent a vector with index {index} for {count} texts")
        rows[index] = item.embedding if isinstance(item.embedding, bytes) else _floats(item.embedding)
    width = len(rows[0]) if rows else 0
    if not width or width % 4 or any(len(row) != width for row in rows):
        raise faults.nonsense(asked.provider, f"did not send one vector of one length for each of {count} texts")
    if not _is_finite(rows):
        raise faults.nonsense(asked.provider, "sent a vector with a number that is not finite")
    model = embedded.model or asked.model
    return Embeddings(model, width // 4, tuple(rows), read_usage(embedded.usage))


def _floats(numbers: list[float]) -> bytes:
    packed = array("f", numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _is_finite(rows: Sequence[bytes]) -> bool:
    """Whether no number is infinite or NaN. A sum shows it: sums of doubles that were floats cannot overflow."""
    if sys.byteorder == "little" and sum(map(len, rows)) <= 64 * 1024:
        # A few vectors, as from a search: not worth the 20 MB and 100 ms that importing numpy costs.
        return all(math.isfinite(sum(array("f", row))) for row in rows)
    import numpy as np

    return all(bool(np.isfinite(np.frombuffer(row, "<f4").sum(dtype=np.float64))) for row in rows)
