"""Puts pictures into the store before the messages that show them, and gets them out again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from stepwired.events import Batch, Chat, ChatRequest, Image, Message
from stepwired.images import Picture
from stepwired.store.parts import Blobs


class Images(Protocol):
    """Looks at pictures."""

    async def check(self, data: bytes, field: str) -> Picture:
        """Decode a whole file and say what it is.

        Raises:
            InvalidRequest: UNSUPPORTED_IMAGE_FORMAT, IMAGE_TOO_LARGE or IMAGE_DECODE_FAILED, on `field`.
        """

    async def take(self, image: Image, field: str) -> Image:
        """Get the bytes, from wherever the caller says, and decode them; a blob or a plain address stays as it is.

        Raises:
            InvalidRequest: As `check`; IMAGE_URL_UNAVAILABLE, FILE_ACCESS_DENIED.
            NotFound: FILE_NOT_FOUND.
        """


class Pictures:
    """All pictures on their way in and out.

    Args:
        images: Looks at them.
        blobs: Keeps them.
    """

    def __init__(self, images: Images, blobs: Blobs) -> None:
        self._images = images
        self._blobs = blobs

    async def keep(self, data: bytes, field: str, name: str = "") -> Image:
        """Check one picture and store it.

        Raises:
            InvalidRequest: See `Images.check`.
        """
        picture = await self._images.check(data, field)
        image = Image(
            name=name,
            blob_id=picture.blob_id,
            media_type=picture.media_type,
            width=picture.width,
            height=picture.height,
            size_bytes=picture.size_bytes,
        )
        return replace(image, blob_id=await self._blobs.put_blob(image, data))

    async def taken(
        self, messages: Sequence[Message], path: str = "messages", *, keep: bool = True
    ) -> tuple[Message, ...]:
        """Check all pictures of a request, and only then store them.

        Args:
            messages: As the caller gave them.
            path: Field of the request that holds them.
            keep: Whether they are stored, so that messages refer to them; otherwise their bytes stay with them.

        Raises:
            InvalidRequest: See `Images.take`.
            NotFound: FILE_NOT_FOUND.
        """
        if not any(message.images for message in messages):
            return tuple(messages)
        checked = []
        for index, message in enumerate(messages):
            places = ((image, f"{path}[{index}].images[{at}]") for at, image in enumerate(message.images))
            images = [await self._images.take(image, place) for image, place in places]
            checked.append(replace(message, images=tuple(images)))
        return tuple([await self._stored(message) for message in checked]) if keep else tuple(checked)

    def taking(self, chat: Chat) -> Chat:
        """Make `chat` take in the pictures of its requests; one without any is passed on, at no cost for its reply.

        Beside a conversation they are stored; otherwise their bytes stay with the messages and are not kept.
        """

        def run(request: ChatRequest) -> AsyncGenerator[Batch, None]:
            has_images = any(message.images for message in request.messages)
            return self._chat(chat, request) if has_images else chat(request)

        return run

    async def with_bytes(self, message: Message, room_bytes: int) -> Message:
        """The message with the bytes of its stored pictures, as far as they fit; the others keep their blob's id."""
        images = []
        for image in message.images:
            loaded = image
            if image.blob_id and image.size_bytes <= room_bytes:
                room_bytes -= image.size_bytes
                loaded = replace(image, data=b"".join([chunk async for chunk in self.chunks(image.blob_id)]))
            images.append(loaded)
        return replace(message, images=tuple(images))

    async def chunks(self, blob_id: str) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of a stored picture, at most 64 KiB at a time.

        Raises:
            NotFound: BLOB_NOT_FOUND.
        """
        async with aclosing(self._blobs.blob_chunks(blob_id)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _chat(self, chat: Chat, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        messages = await self.taken(request.messages, keep=bool(request.conversation_id))
        async with aclosing(chat(replace(request, messages=messages))) as batches:
            async for batch in batches:
                yield batch

    async def _stored(self, message: Message) -> Message:
        images = [
            replace(image, data=b"", blob_id=await self._blobs.put_blob(image, image.data)) if image.data else image
            for image in message.images
        ]
        return replace(message, images=tuple(images))
