"""What a connection may take, and what of its requests is not looked at."""

from __future__ import annotations

from dataclasses import dataclass

_UPGRADE = b"\nupgrade:"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a connection may take."""

    head_s: float = 10.0
    """For a request's line and headers, from its first byte; for the first byte, from the connection."""

    body_idle_s: float = 30.0
    """Between two pieces of a body."""

    idle_s: float = 75.0
    """Between two requests."""

    stalled_s: float = 60.0
    """Between two signs that a peer takes what it is sent."""

    head_bytes: int = 64 * 1024
    connections: int = 1000


def without_upgrade(data: bytes) -> bytes:
    """Hide the offer of another protocol, which clients of HTTP/2 make with each first request.

    A server may pass over it. The parser would not: it takes what follows the head for that other protocol.
    """
    at = data.lower().find(_UPGRADE)
    if at < 0 or 0 <= data.find(b"\r\n\r\n") < at:
        return data
    return b"%bX-%b" % (data[: at + 1], data[at + 1 :])
