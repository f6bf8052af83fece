"""What all calls about conversations work with, and what they share."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

import grpc

from stepwired.limits import KIB, Limits
from stepwired.rpc.pictures import Pictures
from stepwired.rpc.uploads import Uploads
from stepwired.store.base import ConversationStore
from stepwired.store.nouns import Request

Context = grpc.aio.ServicerContext[Any, Any]

T = TypeVar("T")

#: What is longer is read and hashed in a thread.
LONG_BYTES = 256 * KIB


class Kept:
    """Calls on kept conversations. Holds no state of its own.

    Args:
        store: Keeps them.
        pictures: Looks at pictures and keeps them.
        uploads: Counts the files that are being sent to us.
        limits: Of messages, files and replies.
    """

    def __init__(self, store: ConversationStore, pictures: Pictures, uploads: Uploads, limits: Limits) -> None:
        self._store = store
        self._pictures = pictures
        self._uploads = uploads
        self._limits = limits


async def read(convert: Callable[..., T], request: Any, limits: Limits) -> T:
    """Read a request by its converter: a long one in a thread, in which others get their turns.

    Raises:
        InvalidRequest: As `convert` does.
    """
    if request.ByteSize() > LONG_BYTES:
        return await asyncio.to_thread(convert, request, limits)
    return convert(request, limits)


async def repeatable(request: Any) -> Request | None:
    """Say what makes this request safe to repeat: its id, and a digest of all else; None if it has no id.

    Takes the id out of the request.
    """
    given = request.request_id
    if not given:
        return None
    request.ClearField("request_id")
    if request.ByteSize() > LONG_BYTES:
        return Request(given, await asyncio.to_thread(_digest, request))
    return Request(given, _digest(request))


def _digest(request: Any) -> bytes:
    """Hash the request. Maps are written in the order of their keys, so that equal requests are equal bytes."""
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
