"""Answers requests that are no calls: an unknown path, another method than POST, a body of an unknown type."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Sequence
from typing import Final

from stepwired.rpc.connect.reading import Send

#: Name of the code in Connect, and its number in gRPC.
_CODES: Final = {404: ("unimplemented", 12), 405: ("unimplemented", 12), 415: ("invalid_argument", 3)}


async def refuse(send: Send, kind: str, status: int, message: str, headers: Sequence[tuple[str, str]] = ()) -> None:
    """Refuse a request in the words of its protocol.

    Args:
        send: The server's.
        kind: Content type of the request.
        status: Of HTTP; gRPC-Web has its own in a header.
        message: For people.
        headers: Beside that.
    """
    name, number = _CODES[status]
    body = json.dumps({"code": name, "message": message}).encode()
    said = [("content-type", "application/json"), *headers]
    if kind.startswith("application/grpc-web") and status == 404:
        body, status = b"", 200
        said = [("content-type", kind), ("grpc-status", str(number)), ("grpc-message", urllib.parse.quote(message))]
    said.append(("content-length", str(len(body))))
    encoded = [(key.encode(), value.encode()) for key, value in said]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body, "more_body": False})
