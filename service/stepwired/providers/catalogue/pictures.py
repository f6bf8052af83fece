"""Puts the bytes of stored pictures into what a model is sent, and bounds how many are in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace

from stepwired.errors import InvalidRequest, Reason, Subject, Throttled
from stepwired.events import Batch, Chat, ChatRequest, Image, Message
from stepwired.limits import MIB

_IMAGES_BYTES = 64 * MIB
"""Of all stored pictures that one request to a model is made of, which are in memory at once."""

_ALL_IMAGES_BYTES = 512 * MIB
"""Of the stored pictures of all requests that are not yet sent, together."""

#: The bytes of a stored picture.
Resolve = Callable[[str], Awaitable[bytes]]


class StoredPictures:
    """Pictures of all requests that are being sent.

    Args:
        resolve: The bytes of a stored picture, by its `blob_id`; raises NotFound BLOB_NOT_FOUND.
    """

    def __init__(self, resolve: Resolve | None) -> None:
        self._resolve = resolve
        self._held_bytes = 0

    def chat(self, chat: Chat, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        """`chat`, of this request with the bytes of its stored pictures; with nothing between if it has none."""
        if any(_is_stored(image) for message in request.messages for image in message.images):
            return self._chat(chat, request)
        return chat(request)

    async def _chat(self, chat: Chat, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        size = sum(image.size_bytes for message in request.messages for image in message.images)
        if size > _IMAGES_BYTES:
            text = f"these messages have {size} bytes of images, and a model is sent at most {_IMAGES_BYTES}"
            raise InvalidRequest(Reason.IMAGE_TOO_LARGE, text, metadata={"limitBytes": str(_IMAGES_BYTES)})
        self._hold(size)
        try:
            # Without a name for what is large: only the wire has it, until it is sent.
            batches = chat(
                replace(request, messages=tuple([await self._with_bytes(message) for message in request.messages]))
            )
            async with aclosing(batches):
                async for batch in batches:
                    self._held_bytes -= size  # an answer comes, so all is sent
                    size = 0
                    yield batch
        finally:
            self._held_bytes -= size

    def _hold(self, size: int) -> None:
        if self._held_bytes + size > _ALL_IMAGES_BYTES:
            text = f"requests with {_ALL_IMAGES_BYTES} bytes of images are being sent already; try again"
            raise Throttled(
                Reason.CONCURRENCY_LIMITED,
                text,
                metadata={"limit": str(_ALL_IMAGES_BYTES)},
                subject=Subject("server", "images"),
            )
        self._held_bytes += size

    async def _with_bytes(self, message: Message) -> Message:
        if not any(map(_is_stored, message.images)):
            return message
        assert self._resolve is not None, "who lets pictures be stored also says how they are read"
        images = [
            replace(image, data=await self._resolve(image.blob_id)) if _is_stored(image) else image
            for image in message.images
        ]
        return replace(message, images=tuple(images))


def _is_stored(image: Image) -> bool:
    """Whether its bytes have still to be read."""
    return bool(image.blob_id) and not image.data
