"""What a connection answers by itself, without asking anybody, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from stepwired.web.bounds import Bounds
from stepwired.web.origins import Origins
from stepwired.web.status import REFUSED, Refused, told

log = logging.getLogger(__name__)


class Refusing(HttpToolsProtocol):
    """A connection that can refuse what comes over it, and wait for its peer for so long and no longer.

    Args:
        config: Of uvicorn.
        state: What all connections share.
        loop: Runs it.
        bounds: What it may take.
        origins: The pages that may read what it refuses.
    """

    def __init__(
        self, config: Config, state: ServerState, loop: asyncio.AbstractEventLoop, bounds: Bounds, origins: Origins
    ) -> None:
        super().__init__(config, state, {}, loop)
        self._bounds = bounds
        self._origins = origins
        self._watch: asyncio.TimerHandle | None = None
        """For the peer's next step, while it is the peer's turn."""

        self._is_deaf = False
        """Whether everything more that comes is passed over."""

        self._serving: RequestResponseCycle | None = None
        """The request that came last, as the base class has it once there was one."""

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def _expect(self, within_s: float, missed: Callable[[], None]) -> None:
        self._expect_nothing()
        self._watch = self.loop.call_later(within_s, missed)

    def _expect_nothing(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _refuse_head(self) -> None:
        limit = f"the request's line and headers have more than {self._bounds.head_bytes} bytes"
        self._refuse(Refused(431, "request_header_fields_too_large", limit))

    def _refuse(self, refused: Refused) -> None:
        """Answer without asking anybody, and take nothing more. The first to ask wins."""
        if self._is_deaf:
            return
        self._is_deaf = True
        self._expect_nothing()
        cycle = self._serving
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True  # whoever waits for its body learns that there is nobody any more
            cycle.message_event.set()
            if cycle.response_started:
                self._close()
                return
        if self.transport.is_closing():
            return
        origin = dict(self.headers or ()).get(b"origin")
        self.transport.write(_written(refused, self._origins.headers(origin)))
        self._linger()

    def _linger(self) -> None:
        """Say that nothing more will come, and close when the peer has seen that, or soon."""
        self._is_deaf = True
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._expect(self._bounds.linger_s, self.transport.abort)

    def _close(self) -> None:
        """Close when what is written has been taken, or at last without that."""
        if not self.transport.is_closing():
            self.transport.close()
            self._expect(self._bounds.stalled_s, self.transport.abort)


def _written(refused: Refused, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Write a whole answer, as it is sent, after which the connection ends."""
    request_id = str(uuid.uuid4())
    said = told(refused)
    body = said.body(request_id)
    log.info(REFUSED, request_id, "HTTP", refused.status, refused.code)
    head = (
        STATUS_LINE[refused.status],
        *[b"%b: %b\r\n" % header for header in (*said.all_headers(), *headers)],
        b"x-request-id: %b\r\n" % request_id.encode(),
        b"content-length: %d\r\n" % len(body),
        b"connection: close\r\n\r\n",
    )
    return b"".join((*head, body))
