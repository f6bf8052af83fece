"""The one module that knows how HTTP is done: a POST out, raw bytes in, a socket that closes when its reader leaves.

httpx over aiohttp, because httpx's own pool stops working after some thousand cancelled requests, and costs
three times the CPU per read. Of httpx it is the transport that is used and not the client, which could only add
what must not be here: redirects (with the key), cookies (of all callers together), proxies of the environment,
unpacked bodies, a log of URLs; without it a request costs a fifth less.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any
from weakref import WeakSet

import aiohttp
import httpx
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.http_exceptions import LineTooLong
from aiohttp.tracing import Trace
from httpx_aiohttp import AiohttpTransport

from stepwired.errors import Failure
from stepwired.limits import KIB
from stepwired.providers import faults
from stepwired.providers.base import Budget
from stepwired.providers.net.reply import Reply

_CONNECTIONS = 100_000
"""More than there will be. Without a number aiohttp stops at 100 and lets the rest wait, silently."""

_READ_BYTES = 64 * KIB
"""Where a reply that nobody reads stops being read from the socket (at twice this)."""


_HEADERS = {
    "accept": "*/*",
    "accept-encoding": "identity",
    "content-type": "application/json",
    "user-agent": "stepwired",
}

_PIECE_BYTES = 256 * KIB


class _Pieces:
    """A large body, written piece by piece: aiohttp warns of larger writes, as they hold up everybody else."""

    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), _PIECE_BYTES):
            yield bytes(self._body[start : start + _PIECE_BYTES])


class _Request(httpx.Request):
    """What the transport looks at and nothing else, because making a whole one is a tenth of what a request costs.

    Raises:
        ValueError: A header is not ASCII. aiohttp would send it in UTF-8.
    """

    def __init__(
        self, url: httpx.URL, headers: Mapping[str, str], content: bytes | _Pieces, extensions: dict[str, Any]
    ) -> None:
        "".join(headers.values()).encode("ascii")
        self.method = "POST"
        self.url = url
        self.headers = headers  # type: ignore[assignment]  # httpx's own would decode each for aiohttp
        self.extensions = extensions
        if isinstance(content, bytes):
            self._content = content
        else:
            self.stream = content  # type: ignore[assignment]


class _Attempt:
    """One try at one request: what aiohttp made for it, to be found by whoever has to end it."""

    __slots__ = ("closed", "is_reused", "response", "transport")

    def __init__(self) -> None:
        self.closed: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport | None = None
        self.response: aiohttp.ClientResponse | None = None
        self.is_reused = False

    def abort(self) -> None:
        """Close the socket now. `close` would first send what is unsent, to a peer that may never read it."""
        if self.transport is not None:
            self.transport.abort()
        if self.response is not None:
            self.response.close()


#: aiohttp works within the task that asks, so this reaches the connector and the response of one attempt.
_attempt: ContextVar[_Attempt] = ContextVar("_attempt")


class _Connector(aiohttp.TCPConnector):
    """Notes which connection an attempt was given, and whether it had been used before."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._known: WeakSet[object] = WeakSet()

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout) -> Connection:
        connection = await super().connect(req, traces, timeout)
        attempt = _attempt.get()
        protocol = connection.protocol
        assert protocol is not None
        attempt.transport = protocol.transport
        attempt.closed = protocol.closed
        attempt.is_reused = protocol in self._known
        if not attempt.is_reused:
            self._known.add(protocol)
            if attempt.closed is not None:
                attempt.closed.add_done_callback(_retrieve)
        return connection


def _retrieve(closed: asyncio.Future[None]) -> None:
    """Look at how a connection ended, or asyncio complains that nobody did."""
    if not closed.cancelled():
        closed.exception()


class _Response(aiohttp.ClientResponse):
    """Notes itself, because the way through httpx adds a generator or three to every read."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        _attempt.get().response = self
        return await super().start(connection)


def trusted() -> ssl.SSLContext:
    """The roots that come with httpx's certifi, or those that SSL_CERT_FILE or SSL_CERT_DIR name. Cost: 20 ms."""
    context = httpx.create_ssl_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Http:
    """Connections to all providers. Make it inside the running loop, and `aclose` it there.

    Args:
        ssl_context: What certificates are checked with; made once, since loading the roots takes 20 ms.
    """

    def __init__(self, ssl_context: ssl.SSLContext | None = None) -> None:
        context = ssl_context or trusted()

        def session() -> aiohttp.ClientSession:
            return aiohttp.ClientSession(
                connector=_Connector(limit=_CONNECTIONS, ssl=context),
                cookie_jar=aiohttp.DummyCookieJar(),
                response_class=_Response,
                read_bufsize=_READ_BYTES,
                max_field_size=16 * KIB,
                timeout=aiohttp.ClientTimeout(total=None),
                trust_env=False,
            )

        self._transport = AiohttpTransport(verify=context, trust_env=False, client=session)
        self._url = lru_cache(64)(httpx.URL)  # parsing one takes longer than sending it

    async def aclose(self) -> None:
        """Close all connections; call it when no reply is being read."""
        await self._transport.aclose()

    @asynccontextmanager
    async def post(
        self,
        provider: str,
        url: str,
        body: bytes,
        *,
        headers: Mapping[str, str],
        budget: Budget,
    ) -> AsyncGenerator[Reply, None]:
        """Send `body`, which is JSON, and give the reply once its head is there, whatever its status.

        Leaving before the body's end closes the socket at once. A kept connection that the peer closed
        meanwhile is replaced once, unnoticed.

        Args:
            provider: Name of the endpoint, for failures.
            url: Where to.
            body: What to send.
            headers: Beside our own, names in lower case: the key in the form that the wire wants, versions.
            budget: Time and bytes.

        Raises:
            Failure: No usable head arrived; reading may raise further ones.
        """
        asked_at = asyncio.get_running_loop().time()
        attempt = await self._send(
            provider, url, body, {**_HEADERS, **headers, "content-length": str(len(body))}, budget
        )
        del body
        assert attempt.response is not None
        reply = Reply(provider, attempt.response, attempt.abort, budget, asked_at)
        # aiohttp forgets to tell the reader when it gives a connection up because of a chunk that is none.
        closed = attempt.closed
        if closed is not None:
            closed.add_done_callback(reply.lose)
        try:
            _check_head(provider, reply, budget)
            yield reply
        finally:
            if closed is not None:
                closed.remove_done_callback(reply.lose)
            reply.close()

    async def _send(self, provider: str, url: str, body: bytes, headers: Mapping[str, str], budget: Budget) -> _Attempt:
        """Send the request until the head of a response is there; again, if a kept connection turns out dead."""
        wait_s = min(budget.first_byte_s, budget.total_s)
        content = body if len(body) <= _PIECE_BYTES else _Pieces(body)
        timeout = {"pool": budget.connect_s, "connect": budget.connect_s}
        try:
            request = _Request(self._url(url), headers, content, {"timeout": timeout})
            async with asyncio.timeout(wait_s):
                try:
                    return await self._send_once(request)
                except _Stale:
                    return await self._send_once(request)
        except TimeoutError:
            raise faults.late(provider, "first_byte", wait_s) from None
        except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError, ValueError) as error:
            # What they say may quote the peer, and names addresses: it is told in our words.
            raise _no_head(provider, error, budget) from None

    async def _send_once(self, request: httpx.Request) -> _Attempt:
        attempt = _Attempt()
        token = _attempt.set(attempt)
        is_answered = False
        try:
            await self._transport.handle_async_request(request)
            is_answered = True
        except httpx.TransportError as error:
            if attempt.is_reused and isinstance(
                error.__cause__, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError
            ):
                raise _Stale(*error.args) from error
            raise
        finally:
            if not is_answered:
                attempt.abort()
            _attempt.reset(token)
        return attempt


class _Stale(httpx.TransportError):
    """The peer had closed the connection that we kept. At its second time it is an ordinary failure."""


def _check_head(provider: str, reply: Reply, budget: Budget) -> None:
    if 300 <= reply.status <= 399:
        raise faults.redirected(provider, reply.status)
    if sum(len(name) + len(value) + 4 for name, value in reply.headers.items()) > budget.head_bytes:
        raise faults.too_large(provider, "a head", budget.head_bytes)
    if reply.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise faults.compressed(provider, budget.body_bytes)


def _no_head(provider: str, error: Exception, budget: Budget) -> Failure:
    """Why no head came: the cause chain is aiohttp's, beneath httpx's, whose classes say less."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and len(causes) < 8:
        causes.append(cause)
        cause = cause.__cause__

    def is_any(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if is_any(aiohttp.ConnectionTimeoutError):
        return faults.late(provider, "connect", budget.connect_s)
    if is_any(ssl.SSLError, ssl.CertificateError):
        return faults.untrusted(provider)
    if is_any(LineTooLong):
        return faults.too_large(provider, "a head", budget.head_bytes)
    if is_any(aiohttp.InvalidURL, httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError):
        return faults.unconfigured(provider, f"the base_url or the key of {provider} cannot be sent")
    if is_any(aiohttp.ClientResponseError):
        return faults.nonsense(provider, "does not answer in HTTP")
    if is_any(aiohttp.ClientConnectorDNSError):
        return faults.unreachable(provider, f"the host of {provider} has no address")
    if is_any(ConnectionRefusedError):
        return faults.unreachable(provider, f"{provider} refused the connection")
    return faults.unreachable(provider, f"the connection to {provider} broke before it answered")
