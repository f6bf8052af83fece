"""Which pages of browsers may talk to this server: by the name they called it, and by where they come from."""

from __future__ import annotations

import re
from collections.abc import Collection

from stepwired.web.exchange import Exchange, Headers
from stepwired.web.status import Refused

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_TOKEN = re.compile(r"[A-Za-z0-9-]{1,64}")

_METHODS = b"GET, POST, OPTIONS"
_MAX_AGE_S = b"600"

#: What pages may send beside what is always allowed.
_REQUEST_HEADERS = (
    "authorization",
    "connect-protocol-version",
    "connect-timeout-ms",
    "content-type",
    "grpc-timeout",
    "x-grpc-web",
    "x-provider-key",
    "x-request-id",
    "x-user-agent",
)
#: What OpenAI's client sends of itself, with names that change from release to release.
_OPENAI = "x-stainless-"

#: What pages may read: of OpenAI's answers, and of those over Connect and gRPC-Web.
_EXPOSED = (
    b"Retry-After, X-Request-Id, X-Should-Retry, X-Run-Id, Trailer-X-Request-Id, Trailer-Grpc-Retry-Pushback-Ms, "
    b"Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin, Grpc-Retry-Pushback-Ms"
)


class Hosts:
    """The names that this server may be called by.

    A page of anybody's can have its own name resolve to 127.0.0.1, and would be of this server's origin then. The name
    in `Host` is the one that it cannot choose.

    Args:
        allowed: Those beside the names of loopback.
    """

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = frozenset(name.lower().encode() for name in (*_LOOPBACK, *allowed))

    def check(self, exchange: Exchange) -> None:
        """Refuse a request that calls the server by another name.

        Raises:
            Refused: It does, or by none, or by several.
        """
        given = exchange.headers.get(b"host", b"")
        found = _HOST.fullmatch(given)
        if found is None or found[1].lower() not in self._allowed or exchange.header_names.count(b"host") > 1:
            text = "the request's Host is none of this server's: add it to `allowed_hosts` in [web]"
            raise Refused(421, "host_not_allowed", text)


class Origins:
    """The pages that may read what this server answers, beside its own.

    Args:
        allowed: Origins such as `http://localhost:3000`; `null` is that of pages opened from a disk; `*` is anybody's.
    """

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = frozenset(allowed)

    def headers(self, origin: bytes | None) -> Headers:
        """What is added to each answer to a page of this origin, so that one that is allowed may read it."""
        if origin is None:
            return []
        if not self._allows(origin):
            return [(b"vary", b"Origin")]
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"Origin"),
        ]

    async def preflight(self, exchange: Exchange) -> None:
        """Answer a browser that asks whether a page may send a request.

        Raises:
            Refused: It may not.
        """
        origin = exchange.headers.get(b"origin", b"")
        if not self._allows(origin):
            text = "this page's origin is not allowed: add it to `allow_origins` in [web]"
            raise Refused(403, "origin_not_allowed", text)
        wanted = exchange.headers.get(b"access-control-request-headers", b"").decode("latin-1").lower()
        extra = (name.strip() for name in wanted[:2048].split(","))
        names = (*_REQUEST_HEADERS, *(name for name in extra if name.startswith(_OPENAI) and _TOKEN.fullmatch(name)))
        headers = [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", ", ".join(names).encode()),
            (b"access-control-max-age", _MAX_AGE_S),
        ]
        if b"access-control-request-private-network" in exchange.headers:
            headers.append((b"access-control-allow-private-network", b"true"))
        await exchange.start(204, headers)
        await exchange.send({"type": "http.response.body"})

    def _allows(self, origin: bytes) -> bool:
        return bool(origin) and ("*" in self._allowed or origin.decode("latin-1") in self._allowed)
