"""`POST /v1/embeddings`."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import msgspec

from stepwired.chat_checks import MODEL_BYTES, check_texts_together
from stepwired.errors import Failure, Reason, Throttled
from stepwired.events import Embed, Embeddings, EmbedRequest, Json
from stepwired.jsonvalue import kind
from stepwired.limits import Limits
from stepwired.violations import Faults
from stepwired.web.body import read_object
from stepwired.web.convert.fields import MOST_FAULTS, Fields
from stepwired.web.convert.naming import renamed_texts, told_by
from stepwired.web.exchange import Exchange
from stepwired.web.models import Models
from stepwired.web.status import JSON
from stepwired.web.text import quoted

_FORMATS = ("float", "base64")

#: What is written at once; of more, so much at a time, so that nobody else waits for it.
_AT_ONCE_NUMBERS = 10_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be embedded, and how the numbers are to be written."""

    texts: tuple[str, ...]
    model: str
    is_base64: bool
    dimensions: int | None
    is_one: bool
    """Whether the text came without a list around it."""


class EmbeddingList:
    """Texts as vectors, all or none.

    Args:
        embed: Makes them.
        models: Which there are.
        limits: Of texts and numbers.
        body_bytes: Of a request.
    """

    def __init__(self, embed: Embed, models: Models, limits: Limits, body_bytes: int) -> None:
        self._embed = embed
        self._models = models
        self._limits = limits
        self._body_bytes = body_bytes

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        asked = await read_object(exchange, self._body_bytes, self._limits, partial(embed_request, limits=self._limits))
        # Where the length is known beforehand, nothing is paid for that could not be sent.
        if known := (info := self._models.info(asked.model, "embed")).dimensions:
            self._check(asked, info.name, known)
        made = await self._made(asked, exchange.provider_key())
        self._check(asked, made.model, made.dimensions)
        await _answer(exchange, made, embeddings_json(made, is_base64=asked.is_base64))

    def _check(self, asked: Asked, model: str, dimensions: int) -> None:
        """Check that vectors of so many numbers each are what was asked for, and that they can be sent."""
        if asked.dimensions not in {None, dimensions}:
            text = f"is {asked.dimensions}, and {model} makes vectors of {dimensions} numbers: leave it out"
            faults = Faults()
            faults.add("dimensions", text, Reason.MODEL_FEATURE_UNSUPPORTED)
            faults.stop()
        most = self._limits.http_embed_floats
        if len(asked.texts) * dimensions > most:
            text = f"{len(asked.texts)} vectors of {dimensions} numbers are more than {most} numbers: send fewer"
            raise Throttled(Reason.RESPONSE_TOO_LARGE, text, metadata={"limitBytes": str(4 * most)})

    async def _made(self, asked: Asked, key: str) -> Embeddings:
        try:
            return await self._embed(EmbedRequest(asked.texts, asked.model, key))
        except Failure as failure:
            if not failure.violations:
                raise
            raise told_by(failure, partial(renamed_texts, is_one=asked.is_one)) from failure


async def _answer(exchange: Exchange, made: Embeddings, written: Iterator[bytes]) -> None:
    """Send vectors, as they are written where they are many: not all of them are held while they are read."""
    if len(made.rows) * made.dimensions <= _AT_ONCE_NUMBERS:
        await exchange.answer(200, b"".join(written))
    elif exchange.is_oldest_http:  # which has to be told their size
        await exchange.answer(200, await asyncio.to_thread(b"".join, written))
    else:
        await exchange.start(200, [JSON])
        for piece in written:
            await exchange.send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)  # sending waits for a slow reader only
        await exchange.send({"type": "http.response.body"})


def embed_request(given: dict[str, Json], limits: Limits) -> Asked:
    """Read what to embed.

    Raises:
        InvalidRequest: With every fault, up to `MOST_FAULTS`.
    """
    faults = Faults(MOST_FAULTS)
    fields = Fields(given, "", faults)
    texts: list[str] = []
    size = 0
    value = fields.get("input")
    if isinstance(value, str):
        _check_text("input", value, limits, faults)
        texts.append(value)
    elif not fields.has("input"):
        faults.add("input", "is needed", Reason.FIELD_REQUIRED)
    elif faults.count("input", len(items := fields.items("input")), limits.stream_embed_texts, least=1):
        for index, item in enumerate(items):
            if isinstance(item, str):
                size += _check_text(f"input[{index}]", item, limits, faults)
                texts.append(item)
            else:
                told = f"must be a string, and is {kind(item)}: tokens of some model's are not taken"
                faults.add(f"input[{index}]", told, Reason.INVALID_INPUT_TEXT)
        check_texts_together("input", size, limits, faults)
    model, written = fields.text("model"), fields.text("encoding_format")
    faults.text("model", model, MODEL_BYTES)
    if written and written not in _FORMATS:
        faults.add("encoding_format", f"`{written[:64]}` is none of {', '.join(_FORMATS)}")
    dimensions = fields.integer("dimensions")
    if dimensions is not None:
        faults.within("dimensions", dimensions, 1, 65_536)
    faults.stop()
    return Asked(tuple(texts), model, written == "base64", dimensions, isinstance(value, str))


def embeddings_json(made: Embeddings, *, is_base64: bool) -> Iterator[bytes]:
    """Write vectors, in pieces: as lists of numbers, or as base64 of little-endian floats of 4 bytes.

    Cost: 1 ms a piece.
    """
    write = _base64 if is_base64 else _numbers
    count = max(1, _AT_ONCE_NUMBERS // max(1, made.dimensions))
    before = b'{"object":"list","data":['
    for begin in range(0, max(1, len(made.rows)), count):
        rows = [
            b'{"object":"embedding","index":%d,"embedding":%b}' % (index, write(row))
            for index, row in enumerate(made.rows[begin : begin + count], begin)
        ]
        yield before + b",".join(rows)
        before = b","
    tokens = made.usage.input_tokens or 0
    usage = b'{"prompt_tokens":%d,"total_tokens":%d}' % (tokens, tokens)
    model = quoted(made.model).encode("ascii")
    yield b'],"model":%b,"usage":%b}' % (model, usage)


def _base64(row: bytes) -> bytes:
    return b'"%b"' % base64.b64encode(row)


def _numbers(row: bytes) -> bytes:
    return msgspec.json.encode(struct.unpack(f"<{len(row) // 4}f", row))


def _check_text(path: str, text: str, limits: Limits, faults: Faults) -> int:
    """Check one text; the bytes of UTF-8 it takes."""
    if not text.strip():
        faults.add(path, "is empty or blank", Reason.INVALID_INPUT_TEXT)
        return 0
    return faults.text(path, text, limits.embed_text_bytes, Reason.INVALID_INPUT_TEXT)
