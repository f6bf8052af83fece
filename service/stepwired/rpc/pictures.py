"""Puts pictures into the store before the messages that show them, and gets them out again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.events import Batch, Chat, ChatRequest, Image, Message
from stepwired.images import Picture
from stepwired.limits import Limits
from stepwired.rpc.uploads import Held, Uploads
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
        limits: Of those that one request has, and of all that are held at once.
    """

    def __init__(self, images: Images, blobs: Blobs, limits: Limits) -> None:
        self._images = images
        self._blobs = blobs
        self._limits = limits
        self.uploads = Uploads(limits)

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

    async def taken(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Check all pictures of a request and store them, so that its messages refer to them.

        Those whose bytes are in the request are stored when all are known to be good. One that we get by ourselves is
        stored at once, so that no two of them are held: where a later one is refused, it is swept like any blob that
        nothing refers to.

        Raises:
            InvalidRequest: See `Images.take`; IMAGE_TOO_LARGE also where too many are to be got.
            NotFound: FILE_NOT_FOUND.
            Throttled: CONCURRENCY_LIMITED.
        """
        if not any(message.images for message in messages):
            return tuple(messages)
        with self.uploads.counting() as held:
            checked = await self._checked(messages, held, keep=True)
        return tuple(
            [
                replace(message, images=tuple([await self._stored(image) for image in message.images]))
                for message in checked
            ]
        )

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
        with self.uploads.counting() as held:
            if request.conversation_id:
                messages = await self.taken(request.messages)
            else:
                messages = await self._checked(request.messages, held, keep=False)
            async with aclosing(chat(replace(request, messages=messages))) as batches:
                async for batch in batches:
                    yield batch

    async def _checked(self, messages: Sequence[Message], held: Held, *, keep: bool) -> tuple[Message, ...]:
        """Check all pictures, and count the bytes of those that we get; with `keep` these are stored."""
        limits = self._limits
        checked, count, size = [], 0, 0
        for index, message in enumerate(messages):
            images = []
            for at, given in enumerate(message.images):
                place = f"messages[{index}].images[{at}]"
                is_ours = bool(given.server_path) or given.fetch
                count += is_ours
                if count > limits.taken_images:
                    raise _too_many(place, limits)
                image = await self._images.take(given, place)
                if is_ours:
                    size += len(image.data)
                    if size > limits.taken_images_bytes:
                        raise _too_many(place, limits)
                    held.add(len(image.data))
                    if keep:
                        image = await self._stored(image)
                        held.drop()
                images.append(image)
            checked.append(replace(message, images=tuple(images)))
        return tuple(checked)

    async def _stored(self, image: Image) -> Image:
        if not image.data:
            return image
        return replace(image, data=b"", blob_id=await self._blobs.put_blob(image, image.data))


def _too_many(place: str, limits: Limits) -> InvalidRequest:
    most, most_bytes = limits.taken_images, limits.taken_images_bytes
    text = f"the server gets at most {most} images of {most_bytes} bytes together for one request: upload some first"
    return InvalidRequest(
        Reason.IMAGE_TOO_LARGE,
        f"{place}: {text}",
        metadata={"limitBytes": str(most_bytes)},
        violations=[Violation(place, text, Reason.IMAGE_TOO_LARGE)],
    )
