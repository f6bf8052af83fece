"""Reads one response within its budget of time and bytes. Knows no HTTP library, only how its body behaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from stepwired.errors import Failure
from stepwired.providers import faults
from stepwired.providers.base import Budget

_LINGER_S = 0.1
"""How long a finished reply may take to end its body, so that the connection can be used again."""

_REST_S = 1.5
"""How long a reply whose content is whole may take to send the rest: token counts, the mark of its end."""


class Content(Protocol):
    """A body as aiohttp's `StreamReader` gives it."""

    _exception: BaseException | None

    async def readany(self) -> bytes:
        """All that has arrived, at least one byte; nothing at the end. Raises at once if the body broke."""

    def read_nowait(self, n: int = -1) -> bytes:
        """All that has arrived, possibly nothing."""

    def is_eof(self) -> bool:
        """Whether the end has arrived, read or not."""

    def exception(self) -> BaseException | None:
        """Why it broke."""

    def set_exception(self, exc: BaseException) -> None:
        """Break it, and wake the reader."""


class Response(Protocol):
    """A response as aiohttp gives it."""

    @property
    def content(self) -> Content:
        """The body."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in any case."""

    @property
    def status(self) -> int:
        """The HTTP status."""


class Reply:
    """A response whose head is there. One reader at a time.

    Args:
        provider: Name of the endpoint, for failures.
        response: The head, and the body as it comes.
        abort: Closes the socket, at once; may be called twice.
        budget: Time and bytes.
        asked_at: When the call began, on the loop's clock.
    """

    __slots__ = (
        "_abort",
        "_budget",
        "_content",
        "_failure",
        "_is_hurried",
        "_left_bytes",
        "_loop",
        "_provider",
        "_timer",
        "_total_at",
        "_waiting_since",
        "content_type",
        "headers",
        "status",
    )

    def __init__(
        self, provider: str, response: Response, abort: Callable[[], None], budget: Budget, asked_at: float
    ) -> None:
        self.status = response.status
        self.headers = response.headers
        self.content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._provider = provider
        self._abort = abort
        self._budget = budget
        self._content = response.content
        self._left_bytes = budget.body_bytes
        self._failure: Failure | None = None
        self._is_hurried = False
        self._loop = asyncio.get_running_loop()
        self._total_at = asked_at + budget.total_s
        self._waiting_since: float | None = self._loop.time()
        # One timer that looks after the whole body. A timer per read would cost more than the read.
        self._timer = self._loop.call_at(min(self._waiting_since + budget.idle_s, self._total_at), self._watch)

    async def read(self) -> bytes:
        """Return all that has arrived, at least one byte; nothing at the body's end.

        Bytes alone do not end a silence: whoever finds content in them says so with `end_silence`.

        Raises:
            Failure: PROVIDER_STREAM_TRUNCATED, PROVIDER_STREAM_STALLED, PROVIDER_TIMEOUT or
                PROVIDER_RESPONSE_TOO_LARGE, after everything that arrived before was returned.
        """
        if self._waiting_since is None:
            self._waiting_since = self._loop.time()
        try:
            chunk = await self._content.readany()
        except Exception:  # noqa: BLE001 - whatever aiohttp calls it, the connection is of no use any more
            chunk = self._unread()
            if not chunk:
                raise self._failure or faults.truncated(self._provider) from None
        self._left_bytes -= len(chunk)
        if self._left_bytes < 0:
            raise faults.too_large(self._provider, "a body", self._budget.body_bytes)
        return chunk

    async def read_all(self, most_bytes: int | None = None) -> bytes:
        """Return the body's first `most_bytes`, or the whole body. Any byte ends a silence.

        Raises:
            Failure: As `read`.
        """
        parts: list[bytes] = []
        count = 0
        while (most_bytes is None or count < most_bytes) and (chunk := await self.read()):
            self.end_silence()
            parts.append(chunk)
            count += len(chunk)
        return b"".join(parts)[:most_bytes]

    def end_silence(self) -> None:
        """What was read last had content: a silence begins with the next read, since it counts while somebody waits."""
        self._waiting_since = None

    def hurry(self) -> None:
        """All that matters was read: leave the rest of the body a moment from the first such call."""
        if not self._is_hurried:
            self._is_hurried = True
            self._total_at = min(self._total_at, self._loop.time() + _REST_S)
            self._timer.cancel()
            self._timer = self._loop.call_at(self._total_at, self._watch)

    async def finish(self) -> None:
        """Wait a moment for the body's end. Without it, or with more content, the connection is dropped."""
        if not self._content.is_eof():
            with suppress(Exception):
                async with asyncio.timeout(_LINGER_S):
                    await self._content.readany()

    def lose(self, _closed: object = None) -> None:
        """The connection is gone: if nobody told the reader, it waits for nothing."""
        if not self._content.is_eof() and self._content.exception() is None:
            self._content.set_exception(faults.truncated(self._provider))

    def close(self) -> None:
        """Give the connection back if the body has ended, else close it, now."""
        self._timer.cancel()
        if not self._content.is_eof():
            self._abort()

    def _unread(self) -> bytes:
        """Take what had arrived when the connection broke; aiohttp's own reads raise at once and lose it."""
        content = self._content
        error = content.exception()
        content._exception = None
        try:
            return content.read_nowait()
        finally:
            content._exception = error

    def _watch(self) -> None:
        """The timer rang: end the body if its time is up, else look again when it could be."""
        now = self._loop.time()
        idle_s, total_s = self._budget.idle_s, self._budget.total_s
        since = self._waiting_since
        if now >= self._total_at:
            self._fail(faults.late(self._provider, "total", total_s))
        elif since is not None and now >= since + idle_s:
            self._fail(faults.silent(self._provider, idle_s))
        else:
            wake_at = min(self._total_at, (now if since is None else since) + idle_s)
            self._timer = self._loop.call_at(wake_at, self._watch)

    def _fail(self, failure: Failure) -> None:
        self._failure = failure
        self._content.set_exception(failure)  # wakes the reader, if there is one
        self._abort()
