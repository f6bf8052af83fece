"""One connection: uvicorn's HTTP/1.1, with limits on what a peer may leave undone, and an end that is told at once."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from stepwired.web.bounds import Bounds, without_upgrade
from stepwired.web.status import Refused, told

#: In how many looks a peer that takes nothing is found.
_LOOKS = 2

#: How long the rest of a request that was refused is still read, so that the peer gets to see why.
_LINGER_S = 2.0

#: What of a body is read and thrown away after the answer, so that the connection can be used again.
_PASSED_OVER_BYTES = 1024 * 1024


class Connection(HttpToolsProtocol):
    """One connection.

    Args:
        config: Of uvicorn.
        state: What all connections share.
        loop: Runs it.
        bounds: What it may take.
    """

    def __init__(self, config: Config, state: ServerState, loop: asyncio.AbstractEventLoop, bounds: Bounds) -> None:
        super().__init__(config, state, {}, loop)
        self._bounds = bounds
        self._watch: asyncio.TimerHandle | None = None
        """For the peer's next step, while it is the peer's turn."""

        self._heard_s = 0.0
        self._head_bytes = 0
        self._in_head = self._in_body = False
        self._is_deaf = False
        """Whether everything more that comes is passed over."""

        self._stall: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0
        self._stalled_looks = 0
        self._serving: RequestResponseCycle | None = None
        """The request that came last, as the base class has it once there was one."""

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

    # The transport's side.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._bounds.connections:
            many = f"the server has {self._bounds.connections} connections already; try again"
            self._refuse(Refused(503, "too_many_connections", many))
            return
        self._expect(self._bounds.head_s, self._no_head)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._watch, self._stall):
            if timer is not None:
                timer.cancel()
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
        if not (self._in_head or self._in_body) and (self._serving is None or self._serving.response_complete):
            self._head_bytes = 0
            self._in_head = True
            self._unset_keepalive_if_required()
            self._expect(self._bounds.head_s, self._no_head)
        if self._in_head:
            self._head_bytes += len(data)
            data = without_upgrade(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(Refused(400, "malformed_http", "no other protocol than HTTP/1.1 is spoken here"))
            return
        except httptools.HttpParserError:
            self._refuse(Refused(400, "malformed_http", "the request is no valid HTTP/1.1"))
            return
        if self._in_head and self._head_bytes > self._bounds.head_bytes:
            self._refuse_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._stalled_looks = 0
        self._stall = self.loop.call_later(self._bounds.stalled_s / _LOOKS, self._look)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    # The parser's side.

    def on_message_begin(self) -> None:
        if self._serving is not None and not self._serving.response_complete:
            # A second request before the answer to the first: pipelining, of which proxies and servers have different
            # opinions. The first is answered, and the connection closed.
            self._is_deaf = True
            self.cycle.keep_alive = False
            return
        self.on_hang_up, self.on_stall, self.waits_for_body = None, None, True
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)["extensions"] = {"stepwire": self}

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_deaf:
            super().on_header(name, value)

    def on_url(self, url: bytes) -> None:
        if not self._is_deaf:
            super().on_url(url)

    def on_headers_complete(self) -> None:
        if self._is_deaf:
            return
        self._in_head = False
        # The whole piece of data was counted, and may hold some of the body.
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._bounds.head_bytes:
            self._refuse_head()
            return
        if not self.url.startswith(b"/"):
            self._refuse(Refused(400, "malformed_http", "the request's target has to be a path"))
            return
        self._in_body = True
        self._expect(self._bounds.body_idle_s, self._no_body)
        super().on_headers_complete()
        self._serving = self.cycle

    def on_body(self, body: bytes) -> None:
        if self._is_deaf:
            return
        super().on_body(body)
        if self.cycle.response_complete:
            # Answered before it was whole. To close now would take the answer from a peer that is still sending.
            self._passed_over_bytes += len(body)
            if self._passed_over_bytes > _PASSED_OVER_BYTES:
                self._linger()

    def on_message_complete(self) -> None:
        if self._is_deaf:
            return
        self._in_body = False
        self._passed_over_bytes = 0
        self._expect_nothing()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.on_hang_up = self.on_stall = None
        super().on_response_complete()
        if self.transport.is_closing():
            self._expect(self._bounds.stalled_s, self.transport.abort)
        self._passed_over_bytes = 0

    # The ends of a peer's patience, and ours.

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def _expect(self, within_s: float, missed: Callable[[], None]) -> None:
        self._expect_nothing()
        self._watch = self.loop.call_later(within_s, missed)

    def _expect_nothing(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _no_head(self) -> None:
        if not self._in_head:  # silent from the beginning: browsers connect ahead of need
            self._close()
            return
        self._refuse(Refused(408, "request_timeout", f"no whole request came within {self._bounds.head_s:g} s"))

    def _no_body(self) -> None:
        if not self.waits_for_body:
            return
        left_s = self._heard_s + self._bounds.body_idle_s - self.loop.time()
        if self.flow.read_paused or left_s > 0:
            self._expect(max(left_s, 1.0), self._no_body)
            return
        if self.cycle.response_started:
            self._close()
            return
        idle = f"nothing of the request's body came for {self._bounds.body_idle_s:g} s"
        self._refuse(Refused(408, "request_timeout", idle))

    def _look(self) -> None:
        """See whether the peer has taken anything since the last look."""
        left_bytes = self.transport.get_write_buffer_size()
        self._stalled_looks = 0 if left_bytes < self._unsent_bytes else self._stalled_looks + 1
        self._unsent_bytes = left_bytes
        if self._stalled_looks < _LOOKS:
            self._stall = self.loop.call_later(self._bounds.stalled_s / _LOOKS, self._look)
        elif self.on_stall is not None:
            self.on_stall()
        else:
            self.transport.abort()

    def _refuse_head(self) -> None:
        limit = f"the request's line and headers have more than {self._bounds.head_bytes} bytes"
        self._refuse(Refused(431, "request_header_fields_too_large", limit))

    def _refuse(self, refused: Refused) -> None:
        """Answer without asking anybody, and take nothing more."""
        self._is_deaf = True
        self._expect_nothing()
        request_id = str(uuid.uuid4())
        cycle = self._serving
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True  # whoever waits for its body learns that there is nobody any more
            cycle.message_event.set()
            if cycle.response_started:
                self._close()
                return
        if self.transport.is_closing():
            return
        body = told(refused).body(request_id)
        head = (
            STATUS_LINE[refused.status],
            b"content-type: application/json\r\n",
            b"x-request-id: %b\r\n" % request_id.encode(),
            b"content-length: %d\r\n" % len(body),
            b"connection: close\r\n\r\n",
        )
        self.transport.write(b"".join((*head, body)))
        self._linger()

    def _linger(self) -> None:
        """Say that nothing more will come, and close when the peer has seen that, or soon."""
        self._is_deaf = True
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._expect(_LINGER_S, self.transport.abort)

    def _close(self) -> None:
        """Close when what is written has been taken, or at last without that."""
        if not self.transport.is_closing():
            self.transport.close()
            self._expect(self._bounds.stalled_s, self.transport.abort)
