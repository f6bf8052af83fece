"""Fetches a picture from an address that a caller chose, and reaches nothing but public servers with it.

The address is looked up once. Every answer has to be public, and the connection is made to one of these answers and
never to a name, so that a name which changes its mind between the two (DNS rebinding) gains nothing. Each redirect is
a new address and goes the same way.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import cast
from urllib.parse import quote, urljoin, urlsplit

import httpcore
from ssrfguard import DEFAULT_DENIED, Address, AddressTable, Block, Policy, Reach, Resolver, SSRFGuardError, Target
from ssrfguard import resolve as resolve_checked

from stepwired.images import url_unavailable
from stepwired.limits import Limits
from stepwired.providers.net.http import trusted

TOTAL_S = 10.0
"""From the call to the last byte, redirects included."""

_CONNECT_S = 3.0
"""For each of the addresses of a name."""

_REDIRECTS = 3
_AT_ONCE = 8
"""Fetches under way, each of which may hold a picture; and lookups, whose threads nobody can stop."""

_HEADERS = ((b"accept", b"image/*"), (b"accept-encoding", b"identity"), (b"user-agent", b"stepwired"))


def _block(network: str, name: str, rfc: str, reach: Reach = Reach.DENIED) -> Block:
    return Block(ip_network(network), name, rfc, reach)


#: ssrfguard's table without its exceptions, none of which is a web server, and with all of IPv6 shut but for the space
#: that is given out (and NAT64, which it looks into): that also shuts `::ffff:0:7f00:1` (SIIT).
_TABLE = AddressTable(
    (
        *(block for block in DEFAULT_DENIED.blocks if block.reach is not Reach.PERMITTED),
        _block("::/0", "Not global unicast", "RFC 4291"),
        _block("2000::/3", "Global unicast", "RFC 4291", Reach.PERMITTED),
        _block("168.63.129.16/32", "Azure's platform services, within Azure", "none"),
    )
)

#: What may be reached: public servers, on the ports of the web.
PUBLIC = Policy(denied_networks=_TABLE, max_redirects=_REDIRECTS)


class _Refused(Exception):
    """It will not be fetched. Why is nobody's business."""


class ImageFetcher:
    """Fetches pictures, a connection of its own for each. Make it inside the running loop.

    Args:
        limits: `image_bytes`.
        allow_hosts: Only these names, as in `img.example.com` or `*.example.com`; empty allows all.
        policy: What may be reached, for tests. `allow_hosts` narrows it.
        resolver: Looks names up, for tests. What it says is checked all the same.
        ssl_context: What certificates are checked with.
        total_s: How long one fetch may take.

    Raises:
        ValueError: One of `allow_hosts` cannot be a host.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        allow_hosts: Collection[str] = (),
        policy: Policy = PUBLIC,
        resolver: Resolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
        total_s: float = TOTAL_S,
    ) -> None:
        self._policy = _narrowed(policy, allow_hosts)
        self._resolver = resolver
        self._ssl_context = ssl_context or trusted()
        self._total_s = total_s
        self._image_bytes = limits.image_bytes
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._lookups = threading.BoundedSemaphore(_AT_ONCE)

    async def fetch(self, url: str, field: str) -> bytes:
        """The bytes behind `url`, which its server calls an image. Nobody has looked at them yet.

        Args:
            url: Address.
            field: Path of the request's field, for the failure.

        Raises:
            InvalidRequest: IMAGE_URL_UNAVAILABLE, in the same words whatever the cause.
        """
        try:
            async with asyncio.timeout(self._total_s), self._turns:
                return await self._follow(url)
        except (_Refused, SSRFGuardError, TimeoutError, OSError, ValueError, *_HTTPCORE):
            raise url_unavailable(field) from None

    async def _follow(self, url: str) -> bytes:
        for _ in range(1 + _REDIRECTS):
            target = self._policy.check_url(url)
            addresses = await self._resolve(target)
            found = await self._get(target, addresses, url)
            if isinstance(found, bytes):
                return found
            if target.scheme == "https" and urlsplit(found).scheme != "https":
                raise _Refused
            url = found
        raise _Refused

    async def _get(self, target: Target, addresses: Sequence[Address], url: str) -> bytes | str:
        """The body, or where the server sends us instead."""
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._ssl_context,
                max_connections=1,
                max_keepalive_connections=0,
                network_backend=_Pinned(addresses, self._policy.max_connection_attempts),
            ) as pool,
            pool.stream("GET", _url(target, url), headers=_headers(target)) as response,
        ):
            headers = {name.lower(): value for name, value in response.headers}
            if response.status in {301, 302, 303, 307, 308}:
                return urljoin(url, headers.get(b"location", b"").decode("ascii"))
            if (
                response.status != 200
                or not headers.get(b"content-type", b"").lower().startswith(b"image/")
                or headers.get(b"content-encoding", b"identity").lower() != b"identity"
            ):
                raise _Refused
            return await self._body(response)

    async def _body(self, response: httpcore.Response) -> bytes:
        body = bytearray()
        async with aclosing(cast(AsyncGenerator[bytes, None], response.aiter_stream())) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) > self._image_bytes:
                    raise _Refused
        return bytes(body)

    async def _resolve(self, target: Target) -> Sequence[Address]:
        """Look the name up once and have every answer checked.

        In a thread of its own: nobody can stop a lookup, and one that hangs must hold up neither the work that others
        hand to threads nor the end of this process.
        """
        if not self._lookups.acquire(blocking=False):
            raise _Refused
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[Address]] = loop.create_future()

        def deliver(addresses: Sequence[Address]) -> None:
            if answer.done():
                return
            if addresses:
                answer.set_result(addresses)
            else:
                answer.set_exception(_Refused())

        def look_up() -> None:
            addresses: Sequence[Address] = ()
            try:
                with suppress(SSRFGuardError, OSError, ValueError):
                    addresses = resolve_checked(target, policy=self._policy, resolver=self._resolver)
            finally:
                self._lookups.release()
                with suppress(RuntimeError):  # the loop is gone: nobody waits any more
                    loop.call_soon_threadsafe(deliver, addresses)

        threading.Thread(target=look_up, name="lookup", daemon=True).start()
        return await answer


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were checked, whatever it is asked for."""

    def __init__(self, addresses: Sequence[Address], attempts_count: int) -> None:
        self._addresses = addresses[:attempts_count]
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        for address in self._addresses:
            try:
                stream = await self._backend.connect_tcp(
                    str(address.ip), address.port, _CONNECT_S, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
            if ip_address(stream.get_extra_info("server_addr")[0]) == address.ip:
                return stream
            await stream.aclose()  # something on the way leads elsewhere
        raise httpcore.ConnectError


#: All that httpcore raises.
_HTTPCORE = (
    httpcore.ConnectionNotAvailable,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
)


def _narrowed(policy: Policy, hosts: Collection[str]) -> Policy:
    return replace(policy, allowed_hosts=frozenset(hosts)) if hosts else policy


def _url(target: Target, url: str) -> httpcore.URL:
    """What is asked of the server; made of what was checked, so that no second parser can read it otherwise."""
    split = urlsplit(url)
    way = quote(split.path or "/", safe="%/:=&~+!$,;'@()*[]")
    if split.query:
        way += "?" + quote(split.query, safe="%/:=&?~+!$,;'@()*[]")
    return httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=way)


def _headers(target: Target) -> list[tuple[bytes, bytes]]:
    host = f"[{target.host}]" if ":" in target.host else target.host
    if target.port != {"http": 80, "https": 443}[target.scheme]:
        host += f":{target.port}"
    return [(b"host", host.encode("ascii")), *_HEADERS]
