"""Takes in the pictures of a request, wherever their bytes are, and says what each of them is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from stepwired import images
from stepwired.events import Image
from stepwired.images import MEDIA_TYPES, Picture
from stepwired.imaging.files import Files
from stepwired.imaging.pool import Decoders
from stepwired.limits import MIB, Limits

_FIELD = "image"

#: Bytes behind an address, and the request's field; raises InvalidRequest IMAGE_URL_UNAVAILABLE.
Fetch = Callable[[str, str], Awaitable[bytes]]


class Images:
    """All ways for a picture to come in. Make it inside the running loop, and `close` it there.

    Args:
        decoders: Look at the bytes.
        files: Read server paths.
        fetch: Fetches addresses; None where that is switched off.
        limits: `image_bytes`, `image_pixels`.
    """

    def __init__(self, decoders: Decoders, files: Files, fetch: Fetch | None, limits: Limits) -> None:
        self._decoders = decoders
        self._files = files
        self._fetch = fetch
        self._limits = limits

    async def check(self, data: bytes, field: str = _FIELD) -> Picture:
        """Decode the bytes and say what they are.

        Cost: about 10 ms a megapixel in another process; at most `image_decode_s` in a decoder that runs. Waiting for
        one, or for the start of its process, comes on top.

        Args:
            data: A whole file.
            field: Path of the request's field, for faults, as in `messages[0].images[1].data`.

        Raises:
            InvalidRequest: UNSUPPORTED_IMAGE_FORMAT, IMAGE_TOO_LARGE or IMAGE_DECODE_FAILED.
            Broken: INTERNAL: nothing can be decoded at the moment.
        """
        if len(data) > self._limits.image_bytes:
            raise images.too_large(field, self._limits)
        kind = images.format_of(data)
        if kind is None:
            raise images.unsupported(data, field)
        decoded = await self._decoders.decode(data)
        if decoded.fault == "pixels":
            raise images.too_large(field, self._limits)
        if decoded.fault:
            raise images.undecodable(field)
        blob_id = images.blob_id(data) if len(data) <= MIB else await asyncio.to_thread(images.blob_id, data)
        return Picture(MEDIA_TYPES[kind], decoded.width, decoded.height, len(data), blob_id)

    async def take(self, image: Image, field: str = _FIELD) -> Image:
        """The image with its bytes and all that is known of them, ready to be stored or sent to a model.

        One that names a blob, or an address that is not to be fetched, comes back as it is.

        Args:
            image: As the caller gave it.
            field: Path of the image in the request.

        Raises:
            InvalidRequest: As `check`; IMAGE_URL_UNAVAILABLE, FILE_ACCESS_DENIED.
            NotFound: FILE_NOT_FOUND.
            Broken: INTERNAL: nothing can be decoded at the moment.
        """
        if image.server_path:
            field = f"{field}.server_path"
            data = await self._files.read(image.server_path, field)
        elif image.uri and image.fetch:
            field = f"{field}.uri"
            if self._fetch is None:
                raise images.url_unavailable(field)
            data = await self._fetch(image.uri, field)
        elif image.uri or image.blob_id:
            return image
        else:
            field, data = f"{field}.data", image.data
        picture = await self.check(data, field)
        return replace(
            image,
            data=data,
            uri="",
            server_path="",
            fetch=False,
            blob_id=picture.blob_id,
            media_type=picture.media_type,
            width=picture.width,
            height=picture.height,
            size_bytes=picture.size_bytes,
        )

    async def close(self) -> None:
        """End what decodes. Safe to call twice."""
        await self._decoders.close()
