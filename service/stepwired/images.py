"""What a picture is: its formats, its limits, its name in the store, and what can be wrong with one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from stepwired.errors import InvalidRequest, NotFound, Reason, Subject, Violation
from stepwired.limits import Limits

Format = Literal["GIF", "JPEG", "PNG", "WEBP"]

#: All that is taken, by the name that Pillow has for it.
MEDIA_TYPES: dict[Format, str] = {"GIF": "image/gif", "JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}

ALLOWED = ", ".join(MEDIA_TYPES.values())

#: How others begin, for the caller who wonders. None of it decides anything.
_OTHERS = (
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"8BPS", "image/vnd.adobe.photoshop"),
    (b"%!PS", "application/postscript"),
    (b"\xc5\xd0\xd3\xc6", "application/postscript"),
    (b"%PDF", "application/pdf"),
    (b"SIMPLE", "image/fits"),
    (b"\0\0\1\0", "image/x-icon"),
    (b"\0\0\0\x0cjP  ", "image/jp2"),
)
_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic"}


@dataclass(frozen=True, slots=True)
class Picture:
    """What a picture turned out to be when it was decoded."""

    media_type: str
    """One of `MEDIA_TYPES`."""

    width: int
    """In pixels."""

    height: int
    """In pixels."""

    size_bytes: int
    blob_id: str
    """`sha256:` and 64 hexadecimal digits: the same for the same bytes."""


def blob_id(data: bytes) -> str:
    """The name of these bytes in the store. Cost: 2 ms a MiB, during which other threads run."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def format_of(data: bytes) -> Format | None:
    """The format that the first bytes claim; only decoding shows whether they are right."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    return None


def unsupported(data: bytes, field: str) -> InvalidRequest:
    """The bytes begin like none of the formats."""
    detected = _guess(data)
    found = "it is empty" if not data else f"this looks like {detected}"
    return _invalid(
        Reason.UNSUPPORTED_IMAGE_FORMAT,
        f"has to be one of {ALLOWED}; {found}",
        field,
        {"detected": detected, "allowed": ALLOWED},
    )


def too_large(field: str, limits: Limits) -> InvalidRequest:
    """It has more bytes or pixels than are taken."""
    facts = {"limitBytes": str(limits.image_bytes), "limitPixels": str(limits.image_pixels)}
    text = f"may have {limits.image_bytes} bytes and {limits.image_pixels} pixels, and no more"
    return _invalid(Reason.IMAGE_TOO_LARGE, text, field, facts)


def undecodable(field: str) -> InvalidRequest:
    """It is cut off or damaged, or made to be a burden."""
    return _invalid(Reason.IMAGE_DECODE_FAILED, "cannot be decoded: it is cut off or damaged", field)


def url_unavailable(field: str) -> InvalidRequest:
    """The one answer for every cause, so that nobody learns what is behind an address."""
    return _invalid(Reason.IMAGE_URL_UNAVAILABLE, "cannot be fetched by this server", field)


def access_denied() -> InvalidRequest:
    """The one answer for every path outside of the roots, whether something is there or not."""
    return InvalidRequest(Reason.FILE_ACCESS_DENIED, "this server gives no access to that path")


def file_not_found(path: str) -> NotFound:
    """Nothing is there, within a root."""
    return NotFound(Reason.FILE_NOT_FOUND, "there is no such file", subject=Subject("file", path[:200]))


def _invalid(reason: Reason, text: str, field: str, facts: dict[str, str] | None = None) -> InvalidRequest:
    return InvalidRequest(reason, f"{field}: {text}", metadata=facts, violations=[Violation(field, text, reason)])


def _guess(data: bytes) -> str:
    if not data:
        return "application/x-empty"
    for signature, media_type in _OTHERS:
        if data.startswith(signature):
            return media_type
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "video/mp4")
    if b"<svg" in data[:1024].lower():
        return "image/svg+xml"
    return "application/octet-stream"
