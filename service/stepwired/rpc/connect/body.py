"""Reads the messages of requests, and writes those of replies, as bytes of protobuf or as JSON."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from google.protobuf.message import Message

from stepwired.errors import InvalidRequest
from stepwired.jsonvalue import has_more_values
from stepwired.limits import KIB, Limits
from stepwired.rpc.connect.written import parsed, written

T = TypeVar("T")

#: What is read at once, and more of it in a thread. JSON is read and written in Python, about 5 µs a value.
_FEW_VALUES = 1000
_SMALL_JSON_BYTES = 16 * KIB
_SMALL_BYTES = 64 * KIB
_SMALL_WRITTEN_BYTES = 4 * KIB

#: Large messages that are read at once, and that are written at once, by threads that do nothing else: who sends
#: messages that take long makes others wait who do the same, and nobody else.
_THREADS = 2


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
        raise NotImplementedError("replies are not compressed")

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
        self._reading = ThreadPoolExecutor(_THREADS, "connect-read")
        self._writing = ThreadPoolExecutor(_THREADS, "connect-write")

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
        if self._is_small(raw):
            return self._read(raw, kind, decode)
        # What still waits for a thread when the caller hangs up is never begun.
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._read, raw, kind, decode)

    def _is_small(self, raw: bytes) -> bool:
        if isinstance(raw, Gzipped):
            return False
        if self._is_json:
            return len(raw) <= _SMALL_JSON_BYTES and not has_more_values(raw, _FEW_VALUES)
        return len(raw) <= _SMALL_BYTES

    def _read(self, raw: bytes, kind: type[Message], decode: Callable[[bytes], T]) -> T | Message | InvalidRequest:
        if isinstance(raw, Gzipped):
            raw = _unpacked(raw, self._limits.request_bytes)
        return parsed(raw, kind, self._limits.request_json_values) if self._is_json else decode(raw)

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
        if len(raw) <= _SMALL_WRITTEN_BYTES:
            return written(message, is_large=False)
        work = partial(written, message, is_large=True)
        return await asyncio.get_running_loop().run_in_executor(self._writing, work)


def _unpacked(packed: bytes, limit_bytes: int) -> bytes:
    """Unpack gzip of one part: nobody sends more, and of millions that are empty each would have to be looked at.

    Raises:
        ConnectError: It is none, or of more than `limit_bytes`, or of several parts.
    """
    unpacker = zlib.decompressobj(wbits=31)
    try:
        raw = unpacker.decompress(packed, limit_bytes + 1)
    except zlib.error:
        raise ConnectError(Code.INVALID_ARGUMENT, "the message is said to be gzip and is not") from None
    if len(raw) > limit_bytes:
        message = f"the message is larger than {limit_bytes} bytes when it is unpacked"
        raise ConnectError(Code.RESOURCE_EXHAUSTED, message)
    if not unpacker.eof:
        raise ConnectError(Code.INVALID_ARGUMENT, "the message is cut off: its gzip has no end")
    if unpacker.unused_data:
        raise ConnectError(Code.INVALID_ARGUMENT, "the message is gzip with more after its end")
    return raw
