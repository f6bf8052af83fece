"""Reads the JSON of a request: how much of it there may be, and what of it no other reader would take alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from stepwired import jsonvalue
from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.events import Json
from stepwired.limits import KIB, Limits
from stepwired.web.exchange import Exchange, HungUp
from stepwired.web.status import Refused

T = TypeVar("T")

#: Lists and objects that may lie inside each other.
DEPTH = 64

#: What is parsed at once; more is left to a thread, so that nobody else waits for it.
_AT_ONCE_BYTES = 16 * KIB
_AT_ONCE_VALUES = 10_000


async def read_object(
    exchange: Exchange, limit_bytes: int, limits: Limits, convert: Callable[[dict[str, Json]], T]
) -> T:
    """Read the body, which has to be a JSON object of at most so many bytes, and make of it what it stands for.

    Args:
        exchange: Whose body it is.
        limit_bytes: Most bytes of it.
        limits: Of its values.
        convert: Checks and converts it; where it is large, in a thread.

    Raises:
        Refused: It is too large, or of another type.
        InvalidRequest: MALFORMED_REQUEST, it is no JSON that everybody reads alike; FIELD_INVALID, a number or a text
            that cannot be carried on; what `convert` finds.
        Throttled: CONCURRENCY_LIMITED, there is no room for it.
        HungUp: The caller went before it was whole.
    """
    kind = exchange.headers.get(b"content-type", b"").split(b";", 1)[0].strip().lower()
    if kind != b"application/json":
        raise Refused(415, "unsupported_media_type", "the request has to say `Content-Type: application/json`")
    if exchange.headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refused(415, "unsupported_media_type", "the request's body may not be compressed")
    raw = await _read(exchange, limit_bytes)
    if len(raw) <= _AT_ONCE_BYTES and not jsonvalue.has_more_values(raw, _AT_ONCE_VALUES):
        return convert(parsed(raw, limits.request_json_values))
    try:
        return await asyncio.to_thread(lambda: convert(parsed(raw, limits.request_json_values)))
    finally:
        if exchange.held is not None:
            exchange.held.drop()


async def _read(exchange: Exchange, limit_bytes: int) -> bytes:
    announced = exchange.headers.get(b"content-length", b"0")
    if len(announced) > 12 or int(announced) > limit_bytes:
        raise _too_large(limit_bytes)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await exchange.receive()
        if message["type"] == "http.disconnect":
            raise HungUp
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        if exchange.held is not None:
            exchange.held.add(len(piece))
        pieces.append(piece)
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _too_large(limit_bytes: int) -> Refused:
    return Refused(413, "request_too_large", f"the request's body has more than {limit_bytes} bytes")


def parsed(raw: bytes, most_values: int) -> dict[str, Json]:
    """Read a JSON object.

    Raises:
        InvalidRequest: See `read_object`.
    """
    if jsonvalue.has_more_values(raw, most_values):
        raise _malformed(f"it has more than {most_values} values")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise _malformed("it is no UTF-8") from None
    try:
        value = jsonvalue.parse(text)
    except ValueError as error:
        # One of these is Python's own, about an integer of thousands of digits.
        raise _malformed("an integer has too many digits" if "digits" in str(error) else str(error)) from None
    if not isinstance(value, dict):
        raise _malformed(f"it is {jsonvalue.kind(value)}, and has to be an object")
    # Every number that is heeded has a narrower range of its own; what is passed on, goes on as text.
    if found := jsonvalue.fault(value, max_depth=DEPTH, is_wide=True):
        path, why = found
        raise InvalidRequest.of([Violation(path, why, Reason.FIELD_INVALID)])
    return value


def _malformed(why: str) -> InvalidRequest:
    return InvalidRequest(Reason.MALFORMED_REQUEST, f"the request's body cannot be read: {why}")
