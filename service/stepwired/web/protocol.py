"""One connection: uvicorn's HTTP/1.1, with limits on what a peer may leave undone, and an end that is told at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.server import ServerState

from stepwired.web.bounds import PASSED_OVER_BYTES, Bounds, without_upgrade
from stepwired.web.origins import Origins
from stepwired.web.refusals import Refusing
from stepwired.web.stalls import Stalls, is_deserted
from stepwired.web.status import Refused


class Connection(Refusing):
    """One connection, which hands its requests to the application; made as `Refusing` is."""

    def __init__(
        self, config: Config, state: ServerState, loop: asyncio.AbstractEventLoop, bounds: Bounds, origins: Origins
    ) -> None:
        super().__init__(config, state, loop, bounds, origins)
        self._heard_s = 0.0
        self._head_bytes = self._body_bytes = self._passed_over_bytes = 0
        self._in_head = self._in_body = False
        self._body_began_s = 0.0
        self._beside_bytes = 0
        """What came with a body and is none of it, since the last of it: trailers."""

        self._unwelcome: Refused | None = None
        """Why there is no room for it. Told once its request has said which page may read that."""

        self._stalls: Stalls | None = None
        self.on_hang_up: Callable[[], None] | None = None
        """Told that the peer of the request that is being served is gone."""

        self.on_stall: Callable[[], None] | None = None
        """Told that the peer of that request takes nothing; without it the connection is cut."""

        self.waits_for_body = True
        """Whether a peer that sends nothing of that body is given up here; else whoever serves it does that."""

    # What the request that is served may do.

    def push(self, chunk: bytes) -> None:
        """Write one chunk beside what the request itself writes, while that is at it and there is room."""
        cycle = self.cycle
        if cycle.chunked_encoding and not (cycle.response_complete or cycle.disconnected or self.flow.write_paused):
            self.transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))

    def cut(self) -> None:
        """End the connection without the end of the reply, so that nobody takes what came for the whole."""
        self.cycle.disconnected = True
        if self.flow.write_paused:  # what is not read yet will not be read
            self.transport.abort()
        else:
            self._close()

    def is_deserted(self) -> bool:
        """Whether the peer is gone, also where what it sent before that waits unread."""
        return is_deserted(self.transport)

    @property
    def is_idle(self) -> bool:
        """Whether it stands between two requests, or before the first."""
        is_served = self._serving is None or self._serving.response_complete
        is_at_it = self._in_head or self._in_body or self._is_deaf or self._unwelcome is not None
        return is_served and not (is_at_it or self.transport.is_closing())

    # The transport's side.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._stalls = Stalls(transport, self._bounds.stalled_s, self._stalled)
        self._heard_s = self.loop.time()
        if len(self.connections) > self._bounds.connections and not self._make_room():
            many = f"the server has {self._bounds.connections} connections already; try again"
            self._unwelcome = Refused(503, "too_many_connections", many, retry_after_s=1)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        if self._stalls is not None:
            self._stalls.end()
        cycle = self._serving
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        if cycle is not None and not cycle.response_complete and self.on_hang_up is not None:
            self.on_hang_up()
        self.on_hang_up = self.on_stall = None

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self._heard_s = self.loop.time()
        was_in_body = self._in_body
        if was_in_body:
            self._beside_bytes += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(Refused(400, "malformed_http", "the request is no valid HTTP/1.1"))
            return
        if self._in_head and not was_in_body:  # what came of it with a body is counted when it is whole
            self._head_bytes += len(data)
        if (self._head_bytes if self._in_head else self._beside_bytes) > self._bounds.head_bytes:
            self._refuse_head()

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offered:
            if self._is_deaf:
                return
            # What follows the head is the request's body, and no other protocol: it is read again without the offer.
            head = without_upgrade(self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers)
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as the base class has it
            self._feed(head + data[offered.args[0] :])

    def pause_writing(self) -> None:
        super().pause_writing()
        assert self._stalls is not None
        self._stalls.begin()

    def resume_writing(self) -> None:
        super().resume_writing()
        assert self._stalls is not None
        self._stalls.end()

    # The parser's side.

    def on_message_begin(self) -> None:
        if self._serving is not None and not self._serving.response_complete:
            # A second request before the answer to the first: pipelining, of which proxies and servers have different
            # opinions. The first is answered, and the connection closed.
            self._is_deaf = True
            self.cycle.keep_alive = False
            return
        self.on_hang_up, self.on_stall, self.waits_for_body = None, None, True
        self._head_bytes = self._beside_bytes = self._body_bytes = 0
        self._in_head = True
        self._unset_keepalive_if_required()
        if self._unwelcome is None:  # else it has what is left of its time, for the whole head
            self._expect_head()
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)["extensions"] = {"stepwire": self}

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head and not self._is_deaf:
            super().on_header(name, value)
            return
        self._beside_bytes += len(name) + len(value) + 4  # nobody here has a use for trailers
        if self._beside_bytes > self._bounds.head_bytes:
            self._refuse_head()

    def on_url(self, url: bytes) -> None:
        if not self._is_deaf:
            super().on_url(url)

    def on_headers_complete(self) -> None:
        if self._is_deaf:
            return
        # The whole piece of data was counted, and may hold some of the body.
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._bounds.head_bytes:
            self._refuse_head()
            return
        if self._unwelcome is not None:
            self._refuse(self._unwelcome)
            return
        if not self.url.startswith(b"/"):
            self._refuse(Refused(400, "malformed_http", "the request's target has to be a path"))
            return
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._refuse(Refused(400, "malformed_http", "no other protocol than HTTP/1.1 is spoken here"))
            return  # to be asked again by `_feed`
        self._in_head = False
        self._in_body = True
        self._body_began_s = self._heard_s
        self._expect(min(self._bounds.body_idle_s, self._bounds.body_s), self._no_body)
        super().on_headers_complete()
        self._serving = self.cycle

    def on_body(self, body: bytes) -> None:
        if self._is_deaf:
            return
        super().on_body(body)
        self._body_bytes += len(body)
        self._beside_bytes = 0
        if self.cycle.response_complete:
            # Answered before it was whole. To close now would take the answer from a peer that is still sending.
            self._passed_over_bytes += len(body)
            if self._passed_over_bytes > PASSED_OVER_BYTES:
                self._linger()

    def on_message_complete(self) -> None:
        if self._is_deaf or self._in_head:  # of a request that is read again, only the head
            return
        self._in_body = False
        self._passed_over_bytes = self._beside_bytes = 0
        self._expect_nothing()
        super().on_message_complete()
        # A large body that waits to be taken has stopped the reading, by which alone a hang-up is noticed.
        self.flow.resume_reading()

    def on_response_complete(self) -> None:
        self.on_hang_up = self.on_stall = None
        super().on_response_complete()
        if self.transport.is_closing():
            self._expect(self._bounds.stalled_s, self.transport.abort)
        self._passed_over_bytes = 0

    # The ends of a peer's patience, and ours.

    def _expect_head(self) -> None:
        self._expect(self._bounds.head_s if self._unwelcome is None else self._bounds.linger_s, self._no_head)

    def _no_head(self) -> None:
        if self._unwelcome is not None:
            self._refuse(self._unwelcome)
            return
        if not self._in_head:  # silent from the beginning: browsers connect ahead of need
            self._close()
            return
        self._refuse(Refused(408, "request_timeout", f"no whole request came within {self._bounds.head_s:g} s"))

    def _no_body(self) -> None:
        if not self.waits_for_body:
            return
        left_s = min(self._heard_s + self._bounds.body_idle_s, self._body_due_s()) - self.loop.time()
        if self.flow.read_paused or left_s > 0:
            self._expect(max(left_s, 1.0), self._no_body)
            return
        if self.cycle.response_started:
            self._close()
            return
        self._refuse(Refused(408, "request_timeout", "the request's body came too slowly, or came no more"))

    def _body_due_s(self) -> float:
        """When a body has to be whole, by the loop's clock: the later, the more of it came."""
        return self._body_began_s + self._bounds.body_s + self._body_bytes / self._bounds.body_bytes_s

    def _stalled(self) -> None:
        if self.on_stall is not None:
            self.on_stall()
        else:
            self.transport.abort()

    def _make_room(self) -> bool:
        """Close the connection that is idle for longest; False if there is none."""
        others = [each for each in cast("set[Connection]", self.connections) if each is not self and each.is_idle]
        if others:
            min(others, key=lambda each: each._heard_s)._close()
        return bool(others)
