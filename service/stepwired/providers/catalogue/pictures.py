"""Puts the bytes of stored pictures into what a model is sent, and bounds how many are in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from stepwired.errors import InvalidRequest, Reason, Subject, Throttled
from stepwired.events import Batch, Chat, ChatRequest, Image, Message
from stepwired.limits import MIB

_IMAGES_BYTES = 64 * MIB
"""Of all stored pictures that one request to a model is made of, which are in memory at once."""

_ALL_IMAGES_BYTES = 512 * MIB
"""Of the stored pictures of all requests that are not yet sent, together."""


class Kept(Protocol):
    """Where stored pictures are. Both raise NotFound BLOB_NOT_FOUND."""

    async def blob(self, blob_id: str) -> Image:
        """What is known of a picture. Cheap: its bytes are not read."""

    def blob_chunks(self, blob_id: str) -> AsyncGenerator[bytes, None]:
        """Yield its bytes."""


class StoredPictures:
    """Pictures of all requests that are being sent.

    Args:
        kept: Where they are; None where none are stored.
    """

    def __init__(self, kept: Kept | None) -> None:
        self._kept = kept
        self._held_bytes = 0

    def chat(self, chat: Chat, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        """`chat`, of this request with the bytes of its stored pictures; with nothing between if it has none."""
        if any(_is_stored(image) for message in request.messages for image in message.images):
            return self._chat(chat, request)
        return chat(request)

    async def _chat(self, chat: Chat, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        messages, size = await self._described(request.messages)
        self._hold(size)
        try:
            # Without a name for what is large: only the wire has it, until it is sent.
            batches = chat(replace(request, messages=tuple([await self._with_bytes(message) for message in messages])))
            async with aclosing(batches):
                async for batch in batches:
                    self._held_bytes -= size  # an answer comes, so all is sent
                    size = 0
                    yield batch
        finally:
            self._held_bytes -= size

    async def _described(self, messages: Sequence[Message]) -> tuple[list[Message], int]:
        """The messages with all that is known of their pictures, and the bytes of these; none of them is read.

        What a conversation shows is known already. Of a picture that a request itself names, only the name is, and its
        media type is part of what a provider is told.
        """
        known: dict[str, Image] = {}
        described, size = [], 0
        for message in messages:
            images = []
            for given in message.images:
                image, blob_id = given, given.blob_id
                if _is_stored(given) and not (given.media_type and given.size_bytes):
                    if blob_id not in known:
                        known[blob_id] = await self._there.blob(blob_id)
                    image = replace(known[blob_id], name=given.name, detail=given.detail)
                size += image.size_bytes
                if size > _IMAGES_BYTES:
                    raise _too_large()
                images.append(image)
            described.append(replace(message, images=tuple(images)) if images else message)
        return described, size

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
        images = [
            replace(image, data=await self._read(image.blob_id)) if _is_stored(image) else image
            for image in message.images
        ]
        return replace(message, images=tuple(images))

    async def _read(self, blob_id: str) -> bytes:
        async with aclosing(self._there.blob_chunks(blob_id)) as chunks:
            return b"".join([chunk async for chunk in chunks])

    @property
    def _there(self) -> Kept:
        assert self._kept is not None, "who lets pictures be stored also says where they are"
        return self._kept


def _too_large() -> InvalidRequest:
    text = f"these messages have more than the {_IMAGES_BYTES} bytes of images that a model is sent at most"
    return InvalidRequest(Reason.IMAGE_TOO_LARGE, text, metadata={"limitBytes": str(_IMAGES_BYTES)})


def _is_stored(image: Image) -> bool:
    """Whether its bytes have still to be read."""
    return bool(image.blob_id) and not image.data
