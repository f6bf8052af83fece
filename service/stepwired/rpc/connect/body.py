"""Reads the messages of requests, and writes those of replies, as bytes of protobuf or as JSON."""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from google.protobuf import json_format
from google.protobuf.message import Message

from stepwired.errors import InvalidRequest, Reason
from stepwired.limits import KIB, Limits

T = TypeVar("T")

#: JSON is read and written in Python, about 5 µs a value: above it in a thread.
_LARGE_JSON_BYTES = 16 * KIB
_LARGE_BYTES = 64 * KIB

#: A string, or what begins or parts values. Nothing is looked at twice, whatever is missing at the end.
_VALUE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?+|[,\[{]', re.DOTALL)
_UNKNOWN = re.compile(r'Message type "([\w.]+)" has no field named "(.*?)" at "([\w.\[\]]*)"', re.DOTALL)
_AT = re.compile(r" at \w+\.?([\w.\[\]]*?)\.*$")
_KEY_CHARACTERS = 64


class Gzipped(bytes):
    """A message that is still compressed."""

    __slots__ = ()


class Raw:
    """Hands the library's messages through as bytes: it decodes on the event loop, whatever that takes.

    Args:
        name: Of the format, as content types have it.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        return self._name

    def encode(self, message: bytes) -> bytes:
        return message

    def decode(self, data: bytes | bytearray, _: type[bytes]) -> bytes:
        return data if isinstance(data, bytes) else bytes(data)


class Gzip:
    """Gzip for requests, unpacked where they are decoded. Replies are not compressed; see `Connect`."""

    def name(self) -> str:
        return "gzip"

    def compress(self, data: bytes | bytearray | memoryview) -> bytes:
        packer = zlib.compressobj(wbits=31)
        return packer.compress(data) + packer.flush()

    def decompress(self, data: bytes | bytearray | memoryview, _: int | None = None) -> bytes:
        return Gzipped(data)


class Format:
    """How messages travel.

    Args:
        is_json: As JSON; else as protobuf.
        limits: How large a request may be.
    """

    def __init__(self, *, is_json: bool, limits: Limits) -> None:
        self._is_json = is_json
        self._limits = limits
        self._large_bytes = _LARGE_JSON_BYTES if is_json else _LARGE_BYTES

    async def read(self, raw: bytes, kind: type[Message], decode: Callable[[bytes], T]) -> T | Message | InvalidRequest:
        """Decode a message of a request: at once if it is small, else in a thread.

        Args:
            raw: As it came.
            kind: Its type.
            decode: For bytes of protobuf.

        Returns:
            The message, or what `decode` makes of bytes that are none; of JSON that is none, why.

        Raises:
            ConnectError: It is too large, unpacked.
        """
        if isinstance(raw, Gzipped) or len(raw) > self._large_bytes:
            return await asyncio.to_thread(self._read, raw, kind, decode)
        return self._read(raw, kind, decode)

    def _read(self, raw: bytes, kind: type[Message], decode: Callable[[bytes], T]) -> T | Message | InvalidRequest:
        if isinstance(raw, Gzipped):
            raw = _unpacked(raw, self._limits.request_bytes)
        return _parsed(raw, kind, self._limits.request_json_values) if self._is_json else decode(raw)

    async def write(self, message: Message, encode: Callable[[Any], bytes]) -> bytes:
        """Encode a message of a reply: at once if it is small, else in a thread.

        Args:
            message: It.
            encode: Makes bytes of protobuf; raises where the message is too large to be sent.

        Raises:
            Exception: What `encode` raises.
        """
        raw = encode(message)
        if not self._is_json:
            return raw
        return _json(message) if len(raw) <= _LARGE_JSON_BYTES else await asyncio.to_thread(_json, message)


def _json(message: Message) -> bytes:
    return json.dumps(json_format.MessageToDict(message), ensure_ascii=False, separators=(",", ":")).encode()


def _unpacked(packed: bytes, limit_bytes: int) -> bytes:
    """Unpack gzip of one or several parts.

    Raises:
        ConnectError: It is none, or of more than `limit_bytes`.
    """
    parts: list[bytes] = []
    left = limit_bytes
    try:
        while packed:
            unpacker = zlib.decompressobj(wbits=31)
            parts.append(unpacker.decompress(packed, left + 1))
            left -= len(parts[-1])
            if left < 0:
                message = f"the message is larger than {limit_bytes} bytes when it is unpacked"
                raise ConnectError(Code.RESOURCE_EXHAUSTED, message)
            if not unpacker.eof:
                raise ConnectError(Code.INVALID_ARGUMENT, "the message is cut off: its gzip has no end")
            packed = unpacker.unused_data
    except zlib.error:
        raise ConnectError(Code.INVALID_ARGUMENT, "the message is said to be gzip and is not") from None
    return b"".join(parts)


def _parsed(raw: bytes, kind: type[Message], most_values: int) -> Message | InvalidRequest:
    """Read JSON strictly: a name that is no field's is a mistake that would else pass in silence."""
    if raw.lstrip()[:1] != b"{":
        return _malformed("the request is no JSON object")
    if _has_too_many_values(raw, most_values):
        return _malformed(f"the request is JSON of more than {most_values} values")
    message = kind()
    try:
        json_format.Parse(raw.decode(), message)
    except UnicodeDecodeError:
        return _malformed("the request is JSON that is not UTF-8")
    except (json_format.ParseError, ValueError, RecursionError) as error:
        return _fault(str(error))
    return message


def _has_too_many_values(raw: bytes, most: int) -> bool:
    """Count values by what begins or parts them; a value costs a hundred times its bytes."""
    if len(raw) <= most:
        return False
    count = 0
    for match in _VALUE.finditer(raw):
        if raw[match.start()] != 0x22:  # a quote
            count += 1
            if count > most:
                return True
    return False


def _fault(said: str) -> InvalidRequest:
    """Put what the library says about JSON without what it quotes of the request, names of fields aside."""
    if unknown := _UNKNOWN.search(said):
        kind, given, at = unknown.groups()
        name = given[:_KEY_CHARACTERS]
        path = ".".join(part for part in (at.partition(".")[2], name) if part)
        return _malformed(f"{path}: {kind} has no such field", path)
    if "duplicate key" in said:
        return _malformed("the request is JSON with a key that is there twice")
    if said.startswith("Failed to load JSON"):
        where = re.search(r"line \d+ column \d+", said)
        return _malformed("the request is no JSON" + (f", at {where.group()}" if where else ""))
    if "Message too deep" in said:
        return _malformed("the request is JSON that is nested too deep")
    path = found.group(1) if (found := _AT.search(said)) else ""
    path = path or ".".join(re.findall(r"Failed to parse (\w+) field", said))
    return _malformed(f"{path or 'the request'}: the value is not of the field's type", path)


def _malformed(message: str, path: str = "") -> InvalidRequest:
    return InvalidRequest(Reason.MALFORMED_REQUEST, message, metadata={"path": path} if path else {})
