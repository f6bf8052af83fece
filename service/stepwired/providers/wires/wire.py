"""Asks one endpoint for a reply, whatever its wire format: the request out, the stream read, its socket closed."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from stepwired.errors import Failure
from stepwired.events import Batch, ChatRequest
from stepwired.limits import KIB
from stepwired.providers import faults
from stepwired.providers.base import Address, Endpoint
from stepwired.providers.net.http import Http
from stepwired.providers.net.reply import Reply
from stepwired.providers.reading.decoder import Decoder
from stepwired.providers.reading.mending import MALFORMED
from stepwired.providers.refusing.refusals import BODY_BYTES, Asked, of_event, of_response
from stepwired.providers.wires.quirks import unsaid

#: What servers call a stream of events, besides those that do not say what it is.
EVENT_STREAMS = ("text/event-stream", "text/plain", "application/octet-stream", "")

_LARGE_BYTES = 256 * KIB
"""From here on a request is written in a thread, so that nobody else waits for it."""

_LIGHT_BYTES = 64 * KIB


class ChatWire(ABC):
    """One endpoint that is asked for replies. A wire format says what is asked and how the answer is read.

    Args:
        endpoint: Where, and what a call may take.
        http: Connections.
    """

    content_types: Sequence[str] = EVENT_STREAMS
    """Of a streamed reply; `application/json` is one that was not streamed, unless it is named here."""

    unsupported: frozenset[str] = frozenset()
    """Fields of `ChatOptions` for which the wire format has no place."""

    efforts: tuple[str, ...] = ()
    """What it knows of `reasoning_effort`; empty: see `Quirks.efforts`."""

    needs_max_tokens: bool = False
    """Whether a request has to say how long the reply may be; the catalogue does, if the caller does not."""

    def __init__(self, endpoint: Endpoint, http: Http) -> None:
        self.endpoint = endpoint
        self.http = http

    @abstractmethod
    def chat_path(self, request: ChatRequest) -> str:
        """What follows the base URL, such as `chat/completions`; see `Address.url`."""

    @abstractmethod
    def chat_body(self, request: ChatRequest) -> bytes:
        """The request, which `check` has passed, as JSON. Called in a thread if it has large pictures."""

    @abstractmethod
    def decoder(self, asked: Asked, request: ChatRequest) -> Decoder:
        """Reads the answer to `request`."""

    def headers(self, address: Address) -> Mapping[str, str]:
        """How the key is sent, and whatever else the wire wants in its head."""
        return address.headers()

    def refusal(self, asked: Asked, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """What an answer other than 200 means; see `refusals.of_response`."""
        return of_response(asked, status, headers, body)

    def refusal_within(self, asked: Asked, error: Any) -> Failure:
        """What an error means that calls itself a success; see `refusals.of_event`."""
        return of_event(asked, error)

    def unsaid(self, request: ChatRequest) -> Iterator[tuple[str, str]]:
        """Fields of a request for which the wire or the model has no words, each with why."""
        quirks = self.endpoint.quirks
        yield from unsaid(request.options, self.unsupported | quirks.unsupported, self.efforts or quirks.efforts)

    def check(self, request: ChatRequest) -> None:
        """Refuse what cannot be asked for: an option that is left out would be a reply to another request.

        Args:
            request: As it would be sent, with the provider's name of the model.

        Raises:
            InvalidRequest: MODEL_FEATURE_UNSUPPORTED, with each such field.
        """
        if wrong := list(self.unsaid(request)):
            raise faults.unsupported_all(request.model, wrong)

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        """Yield the events of one reply in batches, one batch per read; see `events.Chat`.

        Closing the generator closes the socket, which is how the provider learns to stop. Nothing is retried.

        Raises:
            Failure: As `refusals` and `faults` make them. Before the first batch nothing of the reply was made known.
        """
        self.check(request)
        address = await self.endpoint.at(request.caller_key)
        asked = Asked(self.endpoint.name, request.model, address.key(), is_callers=self.endpoint.keys == "caller")
        decoder = self.decoder(asked, request)
        is_large = sum(len(image.data) for message in request.messages for image in message.images) > _LARGE_BYTES
        url = address.url(self.chat_path(request), request.model)
        body = await asyncio.to_thread(self.chat_body, request) if is_large else self.chat_body(request)
        del request
        async with self.http.post(
            asked.provider, url, body, headers=self.headers(address), budget=self.endpoint.budget
        ) as reply:
            del body  # it may have pictures in it, and the reply may take minutes
            if is_whole := reply.content_type == "application/json" and reply.content_type not in self.content_types:
                if batch := await self._read_whole(reply, asked, decoder):
                    yield batch
            else:
                await self.check_reply(reply, asked, self.content_types)
            while not is_whole and (chunk := await _read(reply, decoder)):
                if batch := decoder.feed(chunk):
                    reply.end_silence()
                    yield batch
                if decoder.is_done:
                    break
                if decoder.has_reason:
                    reply.hurry()
            if batch := decoder.end() if decoder.is_light else await asyncio.to_thread(decoder.end):
                yield batch
            await reply.finish()

    async def check_reply(self, reply: Reply, asked: Asked, content_types: Sequence[str]) -> None:
        """Refuse what is not the answer, by status, content type, or an error that calls itself a success."""
        if reply.status != 200:
            raise self.refusal(asked, reply.status, reply.headers, await _error_body(reply))
        if reply.content_type in content_types:
            return
        if reply.content_type == "application/json":
            body = await _error_body(reply)
            try:
                said = msgspec.json.decode(body)
            except MALFORMED:
                said = None
            if isinstance(said, dict) and said.get("error"):
                raise self.refusal_within(asked, said["error"])
        kind = "".join(letter for letter in reply.content_type[:60] if letter.isalnum() or letter in "/+-._")
        raise faults.nonsense(asked.provider, f"answered with content of type {kind}")

    async def _read_whole(self, reply: Reply, asked: Asked, decoder: Decoder) -> Batch:
        """Read JSON that was to be a stream: servers do it for errors, and some for every reply."""
        if reply.status != 200:
            await self.check_reply(reply, asked, ())
        budget = self.endpoint.budget
        most_bytes = 4 * (budget.text_bytes + budget.tool_bytes)
        body = await reply.read_all(most_bytes + 1)
        if len(body) > most_bytes:
            raise faults.too_large(asked.provider, "a reply", most_bytes)
        return (
            decoder.feed_whole(body) if len(body) <= _LIGHT_BYTES else await asyncio.to_thread(decoder.feed_whole, body)
        )


async def _read(reply: Reply, decoder: Decoder) -> bytes:
    """The next bytes; none at the end, or if the connection broke when the model had already stopped."""
    try:
        return await reply.read()
    except Failure:
        if decoder.has_reason:
            return b""
        raise


async def _error_body(reply: Reply) -> bytes:
    """The body of a refusal, as far as it comes: the status already says the most."""
    try:
        body = await reply.read_all(BODY_BYTES)
    except Failure:
        return b""
    await reply.finish()
    return body
