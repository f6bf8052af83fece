"""The front as an ASGI application: who is let in, which path is whose, and one answer for whatever may happen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stepwired.errors import Failure
from stepwired.events import Metrics
from stepwired.web.exchange import Exchange, Places, Work, crashed
from stepwired.web.origins import Hosts, Origins
from stepwired.web.status import Refused

Endpoint = Callable[[Exchange], Awaitable[None]]

_KEY = "stepwire.exchange"


@dataclass(frozen=True, slots=True)
class Door:
    """Who is let in, and how long they may do nothing."""

    hosts: Hosts
    origins: Origins
    places: Places
    metrics: Metrics
    stalled_s: float


class Path:
    """One path: which methods it has, and what answers each.

    Args:
        label: What its requests are counted as.
        get: Answers GET and HEAD.
        post: Answers POST. Takes one of the places for calls.
        door: Whom to ask for a place.
    """

    def __init__(self, label: str, door: Door, *, get: Endpoint | None = None, post: Endpoint | None = None) -> None:
        self._label = label
        self._door = door
        self._get = get
        self._post = post
        methods = [*(["GET", "HEAD"] if get else []), *(["POST"] if post else []), "OPTIONS"]
        self._allowed = ", ".join(methods).encode()

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        """Answer one request."""
        exchange: Exchange = scope[_KEY]
        method = exchange.method
        exchange.label = f"{'GET' if method == 'HEAD' else method} {self._label}"
        if method == "POST" and self._post is not None:
            await self._work(exchange, self._post)
        elif method in {"GET", "HEAD"} and self._get is not None:
            await self._get(exchange)
        elif method == "OPTIONS":
            await exchange.start(204, [(b"allow", self._allowed)])
            await exchange.send({"type": "http.response.body"})
        else:
            exchange.label = f"{self._label}"
            text = f"this path takes {self._allowed.decode()}"
            raise Refused(405, "method_not_allowed", text, headers=((b"allow", self._allowed),))

    async def _work(self, exchange: Exchange, endpoint: Endpoint) -> None:
        door = self._door
        work = Work(exchange, door.places, door.metrics, door.stalled_s)
        with work:
            work.take_place()
            await endpoint(exchange)
        if work.failure is not None:
            await exchange.fail(work.failure)


class Front:
    """The whole front.

    Args:
        door: Who is let in.
        paths: What is served, by path; one that ends in `/` has what is below it, if nothing else has.
        beside: What others serve, by the beginning of its paths. It admits and answers for itself.
    """

    def __init__(self, door: Door, paths: Mapping[str, Path], beside: Mapping[str, ASGIApp]) -> None:
        self._door = door
        self._beside = tuple(beside.items())
        routes = [
            Route(f"{path}{{rest:path}}" if path.endswith("/") and path != "/" else path, served)
            for path, served in paths.items()
        ]
        self._router = Router(routes, default=_nothing, redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send)
        try:
            await self._let_in(exchange, scope)
        except (Failure, Refused) as failure:
            await exchange.fail(failure)
        except Exception as error:  # noqa: BLE001  whatever it is, it is answered
            await exchange.fail(crashed(exchange, error))

    async def _let_in(self, exchange: Exchange, scope: Scope) -> None:
        door = self._door
        exchange.more_headers += door.origins.headers(exchange.headers.get(b"origin"))
        door.hosts.check(exchange)
        if exchange.method == "OPTIONS" and b"access-control-request-method" in exchange.headers:
            await door.origins.preflight(exchange)
            return
        for beginning, app in self._beside:
            if exchange.path.startswith(beginning):
                if exchange.is_oldest_http:
                    raise Refused(505, "http_version_not_supported", "this path needs HTTP/1.1")
                await app(scope, exchange.receive, _adding(exchange))
                return
        scope[_KEY] = exchange
        # As it was sent: what a name is escaped as makes no other path of it.
        scope["path"] = exchange.path
        await self._router(scope, exchange.receive, exchange.send)


def _adding(exchange: Exchange) -> Send:
    """Send the headers of the front with somebody else's answer, and note that it has begun."""
    origins = [header for header in exchange.more_headers if header[0] != b"x-request-id"]

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            exchange.has_started = True
            message["headers"] = [*message.get("headers", ()), *origins]
        await exchange.send(message)

    return send


async def _nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise Refused(404, "not_found", "there is nothing at this path")
