"""Pictures on their way into messages: read on the caller's side, checked, and uploaded where they are large."""

from __future__ import annotations

import base64
import os
import re
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TypeAlias

from stepwire import _files, errors
from stepwire._connection import Connection
from stepwire.v1 import conversation_pb2, message_pb2

#: A picture: path of a file here, or its `file` URL, an `http` or `https` URL, a `data` URL, bytes, a file opened for
#: reading bytes, or the real thing.
PictureLike: TypeAlias = _files.Source | message_pb2.Image

MAX_BYTES = 20 * 1024 * 1024
MAX_INLINE_BYTES = 4 * 1024 * 1024
MAX_REQUEST_BYTES = 8 * 1024 * 1024
"""All pictures of one request together. What is larger is uploaded first."""

_WEB = re.compile("https?://", re.IGNORECASE)
_FILE = re.compile("file://", re.IGNORECASE)
_DATA = re.compile("data:", re.IGNORECASE)

_ALLOWED = "image/gif, image/jpeg, image/png, image/webp"


def image(source: PictureLike, *, name: str = "", detail: str = "", fetch: bool = False) -> message_pb2.Image:
    """Make a picture for a message. A local file is read here and now; the server never sees its path.

        picture = stepwire.image("cat.png")
        print(await client.chat(messages=[{"text": "What is this?", "images": [picture]}]))

    The server decides by decoding whether it is a picture; here only its first bytes and its size are looked at.

    Args:
        source: Path of a file, or its `file` URL, an `http` or `https` URL, a `data` URL in base64, bytes, a file
            opened for reading bytes, what `upload_image` returned, or its `blob_id`.
        name: What people call it; the file's name if empty.
        detail: How closely the model should look: `auto`, `low` or `high`; empty for `auto`.
        fetch: With a URL, let the server fetch it now and keep it; by default the model's provider is given the URL.

    Raises:
        OSError: The file cannot be read.
        errors.InvalidRequest: It has more than 20 MiB, or is no PNG, JPEG, WebP or GIF; or the URL is damaged.
    """
    made = message_pb2.Image()
    match source:
        case message_pb2.Image():
            made.CopyFrom(source)
        case str() if _WEB.match(source):
            made.uri, made.fetch = source, fetch
        case str() if _is_blob_id(source):
            made.blob_id = source
        case _:
            held = _held(source)
            made.data = _read(held)
            made.media_type = _media_type(made.data)
            made.name = _files.name_of(held)
    made.name = name or made.name
    made.detail = detail or made.detail
    return made


async def upload(
    connection: Connection, source: _files.Source, name: str, timeout_s: float | None
) -> message_pb2.Image:
    """Store a picture at the server, and describe it as the server does."""
    held = _held(source)

    async def requests() -> AsyncGenerator[conversation_pb2.UploadImageRequest, None]:
        yield conversation_pb2.UploadImageRequest(name=name or _files.name_of(held))
        async with aclosing(_files.chunks(held)) as pieces:
            async for piece in pieces:
                yield conversation_pb2.UploadImageRequest(chunk=piece)

    response = await connection.upload(connection.conversations.UploadImage, requests(), timeout_s)
    return response.image


async def fitted(
    connection: Connection, messages: Sequence[message_pb2.Message], timeout_s: float | None
) -> Sequence[message_pb2.Message]:
    """Upload the pictures that a request cannot carry, the largest first, and equal ones once.

    The messages given are not changed. `timeout_s` is for all uploads together.
    """
    places = [
        (len(picture.data), at, index)
        for at, message in enumerate(messages)
        for index, picture in enumerate(message.images)
        if picture.data
    ]
    left = sum(size for size, _, _ in places)
    if left <= MAX_REQUEST_BYTES and all(size <= MAX_INLINE_BYTES for size, _, _ in places):
        return messages
    made = list(messages)
    uploaded: dict[bytes, str] = {}
    begun = time.monotonic()
    for size, at, index in sorted(places, reverse=True):
        if size <= MAX_INLINE_BYTES and left <= MAX_REQUEST_BYTES:
            break
        left -= size
        if made[at] is messages[at]:
            made[at] = message_pb2.Message()
            made[at].CopyFrom(messages[at])
        picture = made[at].images[index]
        if picture.data not in uploaded:
            left_s = None if timeout_s is None else max(begun + timeout_s - time.monotonic(), 0)
            uploaded[picture.data] = (await upload(connection, picture.data, picture.name, left_s)).blob_id
        picture.blob_id = uploaded[picture.data]
    return made


def _is_blob_id(text: str) -> bool:
    return text.startswith("sha256:") and len(text) == len("sha256:") + 64


def _held(source: _files.Source) -> _files.Source:
    """The bytes that a `data` URL holds, or the path that a `file` URL names; anything else as it is.

    Raises:
        errors.InvalidRequest: The URL is damaged, or names a file of another machine.
    """
    if not isinstance(source, str):
        return source
    if _FILE.match(source):
        host, slash, path = source[len("file://") :].partition("/")
        if host.lower() not in {"", "localhost"}:
            raise _refused("a `file` URL names a file of another machine")
        from urllib.request import url2pathname  # takes long to load, for what few need

        return url2pathname(slash + path)
    if not _DATA.match(source):
        return source
    head, comma, content = source.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise _refused("a `data` URL of a picture has to be in base64")
    try:
        return base64.b64decode(content, validate=True)
    except ValueError:
        raise _refused("the base64 of a `data` URL is damaged") from None


def _refused(why: str) -> errors.InvalidRequest:
    return errors.InvalidRequest(why, code="INVALID_ARGUMENT", reason="FIELD_INVALID")


def _read(source: _files.Source) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    elif isinstance(source, str | os.PathLike):
        with _files.naming_briefly(), Path(source).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    else:
        data = _files.as_bytes(_files.reader(source)(MAX_BYTES + 1))
    if len(data) > MAX_BYTES:
        raise errors.InvalidRequest(
            f"a picture has at most {MAX_BYTES} bytes, and this one has more",
            code="INVALID_ARGUMENT",
            reason="IMAGE_TOO_LARGE",
            metadata={"limitBytes": str(MAX_BYTES)},
        )
    return data


def _media_type(data: bytes) -> str:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    raise errors.InvalidRequest(
        "the bytes are no PNG, JPEG, WebP or GIF",
        code="INVALID_ARGUMENT",
        reason="UNSUPPORTED_IMAGE_FORMAT",
        metadata={"allowed": _ALLOWED},
    )
