"""What a connection and a request may take, and what of its requests is not looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

#: How long the rest of a request that was refused is still read, so that the peer gets to see why.
LINGER_S = 2.0

#: What of a body is read and thrown away after the answer, so that the connection can be used again.
PASSED_OVER_BYTES = 1024 * 1024

_UPGRADE = b"\nupgrade:"


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


def without_upgrade(data: bytes) -> bytes:
    """Hide the offer of another protocol, which clients of HTTP/2 make with each first request.

    A server may pass over it. The parser would not: it takes what follows the head for that other protocol.
    """
    at = data.lower().find(_UPGRADE)
    if at < 0 or 0 <= data.find(b"\r\n\r\n") < at:
        return data
    return b"%bX-%b" % (data[: at + 1], data[at + 1 :])
