"""One request and its answer: what its headers say, who may end it, and how its caller is told about the end."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send

from stepwired.callers import checked_key, crash, is_request_id
from stepwired.errors import Broken, Failure, Reason, Throttled, Unavailable
from stepwired.events import Metrics
from stepwired.web.bounds import Bodies, Share
from stepwired.web.status import JSON, REFUSED, Refused, told

log = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]

PROVIDER_KEY = b"x-provider-key"


class Places(Protocol):
    """The places for calls, which all fronts share."""

    @property
    def bodies(self) -> Bodies:
        """The room for requests that are being read."""

    def enter(self, member: Any, /) -> None:
        """Take note of a call."""

    def take(self, member: Any, /) -> None:
        """Give it a place.

        Raises:
            Failure: CONCURRENCY_LIMITED or SERVER_DRAINING.
        """

    def leave(self, member: Any, /) -> None:
        """Take note that its work is over."""


class Wire(Protocol):
    """The connection that a request came over."""

    on_hang_up: Any
    on_stall: Any

    def push(self, chunk: bytes, /) -> None:
        """Write one chunk beside what the request itself writes, if there is room."""

    def cut(self) -> None:
        """End the connection without the end of the reply."""


class HungUp(Exception):
    """The caller is gone: there is nobody to answer."""


class Exchange:
    """One request, while it is served.

    Args:
        scope: Of ASGI. Its headers are looked at once.
        receive: Of ASGI.
        send: Of ASGI.
    """

    is_endless = False
    is_serving = False

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path = scope["raw_path"].decode("latin-1")
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.header_names = [name for name, _ in scope["headers"]]
        self.is_oldest_http = scope.get("http_version") == "1.0"
        """Whether an answer ends with the connection only, unless its size is said before."""

        self.label = "HTTP"
        """What it is counted and logged as: few, whatever callers send."""

        self.receive = receive
        self.send = send
        self.request_id = _request_id(self.headers.get(b"x-request-id"))
        self.more_headers: Headers = [(b"x-request-id", self.request_id.encode())]
        """Sent with whichever answer."""

        self.wire: Wire | None = scope.get("extensions", {}).get("stepwire")
        self.held: Share | None = None
        """Counts the body, once the request has a place."""

        self.started_s = time.monotonic()
        self.has_place = False
        self.has_started = False
        """Whether the head of the answer is sent."""

        self.has_events = False
        """Whether the answer is a stream of events, in which a failure can be told."""

        self.ended_by: Failure | None = None
        self.is_gone = False
        self._task: asyncio.Task[Any] | None = None
        self._cancels = 0

    # Who may end it.

    def end(self, failure: Failure) -> None:
        """Have it fail with `failure` as soon as its generators are closed. The first to ask wins."""
        if self.ended_by is None and not self.is_gone:
            self.ended_by = failure
            self._cancel()

    def hung_up(self) -> None:
        """Have it end, because its caller is gone; it may be ending already, which nothing is to interrupt."""
        if self.ended_by is None and not self.is_gone:
            self.is_gone = True
            self._cancel()

    def stalled(self, limit_s: float) -> None:
        """Have it end, because its caller takes nothing."""
        text = f"the stream was left unread for {limit_s:g} s"
        self.end(Throttled(Reason.SLOW_CONSUMER, text, metadata={"limitSeconds": f"{limit_s:g}"}))

    def _cancel(self) -> None:
        if self._task is not None:
            self._cancels += 1
            self._task.cancel()

    def begin(self, task: asyncio.Task[Any]) -> None:
        """From now on the work that `task` does can be ended."""
        self._task = task

    def over(self) -> None:
        """From now on there is nothing to be ended; a cancellation of ours that was on its way is taken back."""
        task, self._task = self._task, None
        if task is not None:
            for _ in range(self._cancels):
                task.uncancel()

    @property
    def is_cancelled_by_others(self) -> bool:
        """Whether somebody else cancelled the task."""
        return self._task is not None and self._task.cancelling() > self._cancels

    # How it is answered.

    async def start(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Send the head of the answer."""
        self.has_started = True
        await self.send(
            {"type": "http.response.start", "status": status, "headers": [*headers, *self.more_headers]},
        )

    async def answer(self, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]] = (JSON,)) -> None:
        """Send a whole answer."""
        await self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.send({"type": "http.response.body", "body": body})

    async def fail(self, failure: Failure | Refused) -> None:
        """Tell the caller that the request failed: by the status, or within a stream that has begun."""
        said = told(failure)
        if isinstance(failure, Failure):
            line = "call failed request_id=%s method=%s code=%s reason=%s"
            log.warning(line, self.request_id, self.label, said.status, failure.reason)
        else:
            log.info(REFUSED, self.request_id, self.label, said.status, failure.code)
        if not self.has_started:
            await self.answer(said.status, said.body(self.request_id), said.all_headers())
            return
        event = b"data: %b\n\n" % said.body(self.request_id) if self.has_events else b""
        if self.wire is None:
            await self.send({"type": "http.response.body", "body": event})
            return
        if event:
            self.wire.push(event)
        # The connection ends without the end of the body: also those who pass over the event learn that it failed.
        self.wire.cut()

    def provider_key(self) -> str:
        """The provider key that the caller brought; empty if there is none. A secret.

        Raises:
            InvalidRequest: PROVIDER_CALLER_KEY_INVALID, it can be none.
        """
        value = self.headers.get(PROVIDER_KEY)
        return "" if value is None else checked_key(value.decode("latin-1"), PROVIDER_KEY.decode())


class Work:
    """Around the work on a request: takes a place for it, and catches what its caller has to be told.

    Leaves the failure in `failure`; None where all is well, or nobody listens.
    """

    __slots__ = ("_exchange", "_metrics", "_places", "_stalled_s", "failure")

    def __init__(self, exchange: Exchange, places: Places, metrics: Metrics, stalled_s: float) -> None:
        self._exchange = exchange
        self._places = places
        self._metrics = metrics
        self._stalled_s = stalled_s
        self.failure: Failure | Refused | None = None

    def __enter__(self) -> Work:
        exchange = self._exchange
        task = asyncio.current_task()
        assert task is not None
        exchange.begin(task)
        if exchange.wire is not None:
            exchange.wire.on_hang_up = exchange.hung_up
            exchange.wire.on_stall = lambda: exchange.stalled(self._stalled_s)
        self._places.enter(exchange)
        return self

    def take_place(self) -> None:
        """Take one of the places for calls.

        Raises:
            Failure: CONCURRENCY_LIMITED or SERVER_DRAINING.
        """
        self._places.take(self._exchange)
        self._exchange.held = self._places.bodies.share()

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        exchange = self._exchange
        self._places.leave(exchange)
        if exchange.held is not None:
            exchange.held.drop()
        if exchange.wire is not None:
            exchange.wire.on_stall = None
        from_others = exchange.is_cancelled_by_others
        exchange.over()
        if exchange.is_gone or isinstance(error, HungUp):
            self._record("CANCELLED", "")
            return not from_others
        if error is None and exchange.ended_by is None:
            self._record("OK", "")
            return False
        self.failure = self._failure_of(error)
        if from_others or self.failure is None:
            self._record("CANCELLED", "")
            return False
        reason = self.failure.reason if isinstance(self.failure, Failure) else ""
        self._record(str(told(self.failure).status), reason)
        return True

    def _failure_of(self, error: BaseException | None) -> Failure | Refused | None:
        exchange = self._exchange
        if exchange.ended_by is not None:
            return exchange.ended_by
        if isinstance(error, Failure | Refused):
            return error
        if isinstance(error, asyncio.CancelledError):
            # Nobody cancelled this task: a step or a provider cancelled something of its own.
            return Unavailable(Reason.INTERNAL_CANCELLED, "the server cancelled its own work; try again")
        if isinstance(error, Exception):
            return crashed(exchange, error)
        return None

    def _record(self, code: str, reason: str) -> None:
        exchange = self._exchange
        self._metrics.call_ended(exchange.label, code, reason, time.monotonic() - exchange.started_s)


def crashed(exchange: Exchange, error: Exception) -> Failure:
    """What a caller is told about an exception that nobody foresaw; where it came from goes to the log."""
    line = "call crashed request_id=%s method=%s %s"
    log.error(line, exchange.request_id, exchange.label, crash(error))
    return Broken(Reason.INTERNAL, f"internal error; request_id {exchange.request_id}")


def _request_id(given: bytes | None) -> str:
    """The caller's id if it is one that is safe to repeat and to log, or a new one."""
    text = "" if given is None else given.decode("latin-1")
    return text if is_request_id(text) else str(uuid.uuid4())
