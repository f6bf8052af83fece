"""What a connection answers by itself, without asking anybody."""

from __future__ import annotations

import logging
import uuid

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from stepwired.web.status import REFUSED, Refused, told

log = logging.getLogger(__name__)


def refusal(refused: Refused) -> bytes:
    """Write a whole answer, as it is sent, after which the connection ends."""
    request_id = str(uuid.uuid4())
    said = told(refused)
    body = said.body(request_id)
    log.info(REFUSED, request_id, "HTTP", refused.status, refused.code)
    head = (
        STATUS_LINE[refused.status],
        *[b"%b: %b\r\n" % header for header in said.all_headers()],
        b"x-request-id: %b\r\n" % request_id.encode(),
        b"content-length: %d\r\n" % len(body),
        b"connection: close\r\n\r\n",
    )
    return b"".join((*head, body))
