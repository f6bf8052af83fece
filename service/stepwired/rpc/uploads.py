"""Collects the files that callers send in pieces, within limits of each and of all together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from stepwired.errors import Failure, InvalidRequest, Reason, Subject, Throttled, Violation
from stepwired.limits import Limits
from stepwired.rpc.listening import doubt

P = ParamSpec("P")
T = TypeVar("T")


class Piece(Protocol):
    """A message of an upload."""

    @property
    def chunk(self) -> bytes:
        """The next bytes; may be empty."""


class Uploads:
    """All files that are being sent to one server."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Size of all that is held just now."""
        return self._held_bytes

    @contextmanager
    def holding(self, limit_bytes: int, too_large: Failure) -> Generator[Upload]:
        """Collect one file, which counts until it is left.

        Args:
            limit_bytes: Most that it may have.
            too_large: How the call fails that sends more.
        """
        upload = Upload(self, limit_bytes, too_large, self._limits.chunk_bytes)
        try:
            yield upload
        finally:
            upload.leave()

    @contextmanager
    def counting(self) -> Generator[Held]:
        """Count what is held for one request, until that is left."""
        held = Held(self)
        try:
            yield held
        finally:
            held.drop()

    def give_back(self, size: int) -> None:
        """Count so many bytes less."""
        self._held_bytes -= size

    def take(self, size: int) -> None:
        """Count so many bytes more.

        Raises:
            Throttled: CONCURRENCY_LIMITED: there would be too many.
        """
        limit_bytes = self._limits.uploads_bytes
        if self._held_bytes + size > limit_bytes:
            raise Throttled(
                Reason.CONCURRENCY_LIMITED,
                f"files of {limit_bytes} bytes are being sent already; try again",
                metadata={"limit": str(limit_bytes)},
                retry_after_s=1.0,
                subject=Subject("server", "uploads"),
            )
        self._held_bytes += size


class Held:
    """Bytes that are held for one request."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._size_bytes = 0

    def add(self, size: int) -> None:
        """Count so many bytes more.

        Raises:
            Throttled: CONCURRENCY_LIMITED: there would be too many.
        """
        self._uploads.take(size)
        self._size_bytes += size

    def drop(self) -> None:
        """Count all of them no more."""
        self._uploads.give_back(self._size_bytes)
        self._size_bytes = 0


class Upload:
    """One file on its way to us."""

    def __init__(self, uploads: Uploads, limit_bytes: int, too_large: Failure, chunk_bytes: int) -> None:
        self.data = bytearray()
        self._uploads = uploads
        self._limit_bytes = limit_bytes
        self._too_large = too_large
        self._chunk_bytes = chunk_bytes
        self._reading: asyncio.Future[Any] | None = None

    async def add_all(self, first: Piece, others: AsyncIterator[Piece]) -> None:
        """Collect all pieces. Reads none beyond the first that is too much.

        Raises:
            InvalidRequest: FIELD_INVALID, a piece is too large.
            Failure: The file is too large, or there is no room for it.
        """
        self._add(first.chunk)
        async for piece in others:
            self._add(piece.chunk)
        await doubt()  # what a caller sent who then cancelled is no whole file

    async def read(self, convert: Callable[Concatenate[bytearray, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Convert the file in a thread. It counts until the thread is done, even if nobody waits for that any more.

        Raises:
            Exception: Whatever `convert` raises.
        """
        work = partial(convert, self.data, *args, **kwargs)
        reading = asyncio.get_running_loop().run_in_executor(None, work)
        self._reading = reading
        return await asyncio.shield(reading)

    def leave(self) -> None:
        """Count it no more, as soon as nothing reads it."""
        if self._reading is None:
            self._uploads.give_back(len(self.data))
        else:  # the thread holds on to the bytes
            size, uploads = len(self.data), self._uploads
            self._reading.add_done_callback(lambda _: uploads.give_back(size))

    def _add(self, chunk: bytes) -> None:
        if len(chunk) > self._chunk_bytes:
            text = f"has {len(chunk)} bytes, and the limit is {self._chunk_bytes}: send more and smaller ones"
            raise InvalidRequest.of([Violation("chunk", text)])
        if len(self.data) + len(chunk) > self._limit_bytes:
            raise self._too_large
        self._uploads.take(len(chunk))
        self.data += chunk
