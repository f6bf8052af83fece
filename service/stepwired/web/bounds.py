"""What a connection and a request may take, and what of its requests is not looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

#: What of a body is read and thrown away after the answer, so that the connection can be used again.
PASSED_OVER_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a connection may take."""

    head_s: float = 10.0
    """For a request's line and headers, from its first byte; for the first byte, from the connection."""

    body_idle_s: float = 30.0
    """Between two pieces of a body."""

    body_s: float = 30.0
    """For a whole body, and a second more for each `body_bytes_s` of it."""

    body_bytes_s: int = 64 * 1024
    idle_s: float = 75.0
    """Between two requests."""

    stalled_s: float = 60.0
    """Between two signs that a peer takes what it is sent."""

    linger_s: float = 2.0
    """For the rest of a request that was refused, so that its peer gets to see why."""

    head_bytes: int = 64 * 1024
    connections: int = 1000


class Share(Protocol):
    """What of a request's body is held."""

    def add(self, size: int, /) -> None:
        """Count so many bytes more.

        Raises:
            Failure: CONCURRENCY_LIMITED: there is no room for them.
        """

    def drop(self) -> None:
        """Count nothing of it any more: it has been read."""


class Bodies(Protocol):
    """The room for requests that are being read."""

    def share(self) -> Share:
        """Count what one request takes of it."""


def without_upgrade(method: bytes, target: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Write a request's head again without its offer of another protocol, as clients of HTTP/2 begin with.

    A server may pass over it. The parser would not: it takes what follows the head for that other protocol.
    """
    kept = [b"%b: %b\r\n" % header for header in headers if header[0] != b"upgrade"]
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, target, version.encode(), b"".join(kept))
