"""Asks one endpoint for vectors, whatever its wire format: all texts or none, in as many requests as it needs."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import msgspec

from stepwired.errors import Failure
from stepwired.events import Embeddings, EmbedRequest, Usage, UsageSource
from stepwired.limits import KIB
from stepwired.providers import faults
from stepwired.providers.base import Attempting, once
from stepwired.providers.embedding.vectors import dimensions_of
from stepwired.providers.reading.mending import MALFORMED
from stepwired.providers.reading.pieces import usage_of
from stepwired.providers.refusing.refusals import BODY_BYTES, Asked, of_event
from stepwired.providers.wires.wire import ChatWire

_CONCURRENCY = 4
"""Requests of one call that are under way at once."""

_DIMENSIONS = 4096
_NUMBER_BYTES = 24
"""A number of a vector, written in decimal digits with a comma and room to spare."""

_ROOM_BYTES = 256 * KIB
"""For all that stands around the vectors."""

_LIGHT_BYTES = 64 * KIB
_USAGE_BYTES = 4 * KIB
_FIELDS = 64
"""Commas of an item, or of a body, beside those in its vectors."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request, its vectors still to be read: together they may be large."""

    items: Sequence[msgspec.Raw]
    """As many as there were texts, or it is wrong."""

    model: str = ""
    usage: Usage = Usage()  # noqa: RUF009 - frozen
    error: msgspec.Raw = field(default_factory=msgspec.Raw)


class EmbedFormat(ABC):
    """How one wire format asks for vectors, and answers. Does no I/O."""

    most_texts: ClassVar[int]
    """Most texts of one request, as the provider's documentation says."""

    @abstractmethod
    def path(self, model: str) -> str:
        """What follows the base URL; see `Address.url`."""

    @abstractmethod
    def body(self, model: str, texts: Sequence[str]) -> bytes:
        """The request as JSON."""

    @abstractmethod
    def answer(self, body: bytes) -> Answer:
        """Read what stands around the vectors. Raises what `MALFORMED` names, or ValueError."""

    @abstractmethod
    def vector(self, item: msgspec.Raw) -> tuple[int | None, bytes]:
        """The place of one vector among the texts, if it says it, and its floats. Raises as `answer`."""


async def embed(
    host: ChatWire, form: EmbedFormat, request: EmbedRequest, dimensions: int | None = None, attempt: Attempting = once
) -> Embeddings:
    """Turn texts into vectors; see `events.Embed`.

    Cost: 8 ms per 1000 vectors of 1536 numbers in base64, else ten times that. In a thread, unless they are few.

    Args:
        host: Whom to ask.
        form: Its wire format.
        request: What to embed, with the provider's name of the model.
        dimensions: Length of the vectors, if known; else at most 4096 numbers are expected. An answer that is
            larger than such vectors can be is not read to its end.
        attempt: Makes each of the requests.

    Raises:
        Failure: Of the first request that fails for good: as `refusals` and `faults` make them,
            PROVIDER_PROTOCOL_ERROR if the vectors are not one for each text, of one length, finite.
    """
    size = max(1, min(host.endpoint.embed_batch, form.most_texts))
    batches = [request.texts[start : start + size] for start in range(0, len(request.texts), size)]
    if len(batches) == 1:
        return await attempt(partial(_embed_batch, host, form, request, dimensions))
    turn = asyncio.Semaphore(_CONCURRENCY)

    async def ask(place: int) -> Embeddings:
        asked = replace(request, texts=batches[place])
        async with turn:
            return await attempt(partial(_embed_batch, host, form, asked, dimensions, place * size))

    tasks: list[asyncio.Task[Embeddings]] = []
    failed: Failure | None = None
    try:
        async with asyncio.TaskGroup() as group:
            tasks += (group.create_task(ask(place)) for place in range(len(batches)))
    except* Failure as failures:
        failed = next(failure for failure in failures.exceptions if isinstance(failure, Failure))
    if failed is not None:
        raise failed
    return _joined(host.endpoint.name, request.model, [task.result() for task in tasks])


def read_embeddings(
    form: EmbedFormat, asked: Asked, body: bytes, dimensions: int | None = None, sent: bytes = b""
) -> Embeddings:
    """Read the answer to a request with `asked.texts` texts.

    Args:
        form: Its wire format.
        asked: Who was asked.
        body: The answer.
        dimensions: Length of the vectors, if known.
        sent: The request, which some answers repeat.

    Raises:
        Failure: PROVIDER_PROTOCOL_ERROR, or what an error inside the body means.
    """
    most_numbers = max(dimensions or 0, _DIMENSIONS)
    # No more values can come of a body than it has commas, and values are what takes memory.
    if body.count(b",") > asked.texts * (most_numbers + _FIELDS) + _FIELDS + sent.count(b","):
        raise faults.nonsense(asked.provider, f"sent more than {asked.texts} vectors of {most_numbers} numbers")
    try:
        answer = form.answer(body)
        error = bytes(answer.error)
        if error not in (b"", b"null"):
            raise of_event(asked, msgspec.json.decode(error) if len(error) <= BODY_BYTES else None)
        rows = _rows(form, asked, answer.items, most_numbers)
    except (*MALFORMED, ValueError, OverflowError):
        raise faults.nonsense(asked.provider, "sent vectors that cannot be read") from None
    width = dimensions_of(asked.provider, rows)
    return Embeddings(answer.model or asked.model, width, tuple(rows), answer.usage)


def counted(raw: msgspec.Raw, *names: str) -> Usage:
    """The tokens that were read, which lie under these names in an object. What is larger than counts are is not read.

    Raises:
        msgspec.MsgspecError: It is no JSON.
    """
    data = bytes(raw)
    said: Any = msgspec.json.decode(data) if 0 < len(data) <= _USAGE_BYTES else None
    if not isinstance(said, dict):
        return Usage()
    for name in names:
        said = said.get(name) if isinstance(said, dict) else None
    return usage_of(said)


async def _embed_batch(
    host: ChatWire, form: EmbedFormat, request: EmbedRequest, dimensions: int | None, first_text: int = 0
) -> Embeddings:
    address = await host.endpoint.at(request.caller_key)
    model, count = request.model, len(request.texts)
    asked = Asked(
        host.endpoint.name, model, address.key(), count, first_text, is_callers=host.endpoint.keys == "caller"
    )
    budget = host.endpoint.budget
    body = form.body(model, request.texts)
    most_bytes = _ROOM_BYTES + count * (dimensions or _DIMENSIONS) * _NUMBER_BYTES + 2 * len(body)
    async with host.http.post(
        asked.provider,
        address.url(form.path(model), model),
        body,
        headers=host.headers(address),
        budget=replace(budget, body_bytes=min(budget.body_bytes, most_bytes)),
    ) as reply:
        await host.check_reply(reply, asked, ("application/json", ""))
        answer = await reply.read_all()
    if len(answer) <= _LIGHT_BYTES:
        return read_embeddings(form, asked, answer, dimensions, body)
    return await asyncio.to_thread(read_embeddings, form, asked, answer, dimensions, body)


def _rows(form: EmbedFormat, asked: Asked, items: Sequence[msgspec.Raw], most_numbers: int) -> list[bytes]:
    """Read vector by vector. A call for the whole would hold up the loop, whichever thread it is made in."""
    count = asked.texts
    rows: list[bytes] = [b""] * count
    for place, item in enumerate(items):
        if bytes(item).count(b",") > most_numbers + _FIELDS:
            raise faults.nonsense(asked.provider, f"sent a vector of more than {most_numbers} numbers")
        said, row = form.vector(item)
        index = place if said is None else said
        if not 0 <= index < count or rows[index]:
            raise faults.nonsense(asked.provider, f"sent a vector with index {index} for {count} texts")
        rows[index] = row
    return rows


def _joined(provider: str, model: str, parts: Sequence[Embeddings]) -> Embeddings:
    if len({part.dimensions for part in parts}) > 1:
        raise faults.nonsense(provider, f"sent vectors of several lengths for {model}")
    rows = tuple(row for part in parts for row in part.rows)
    counts = [part.usage.input_tokens for part in parts]
    total = None if None in counts else sum(count or 0 for count in counts)
    usage = Usage() if total is None or not parts else Usage(UsageSource.PROVIDER, input_tokens=total)
    return Embeddings(parts[0].model if parts else model, parts[0].dimensions if parts else 0, rows, usage)
