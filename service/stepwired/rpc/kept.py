"""What all calls about conversations work with, and what they share."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

import grpc

from stepwired.conversation import Conversation
from stepwired.events import Message
from stepwired.limits import KIB, Limits
from stepwired.rpc.pictures import Pictures
from stepwired.store.base import ConversationStore
from stepwired.store.nouns import Request

Context = grpc.aio.ServicerContext[Any, Any]

#: A conversation, and the ids of its new messages.
Answer = tuple[Conversation, tuple[str, ...]]

#: What is longer is hashed in a thread.
LONG_BYTES = 256 * KIB


class Kept:
    """Calls on kept conversations. Holds no state of its own.

    Args:
        store: Keeps them.
        pictures: Looks at pictures and keeps them, and counts the files that are being sent to us.
        limits: Of messages, files and replies.
    """

    def __init__(self, store: ConversationStore, pictures: Pictures, limits: Limits) -> None:
        self._store = store
        self._pictures = pictures
        self._uploads = pictures.uploads
        self._limits = limits

    async def _answered(self, method: str, request: Request | None, messages: Sequence[Message]) -> Answer | None:
        """Look up whether a request with pictures was answered before, when they need not be there any more.

        Without pictures nothing comes before the write, which looks by itself.

        Raises:
            InvalidRequest: REQUEST_ID_MISMATCH.
            NotFound: CONVERSATION_NOT_FOUND.
        """
        if request is None or not any(message.images for message in messages):
            return None
        return await self._store.answered(method, request)


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
