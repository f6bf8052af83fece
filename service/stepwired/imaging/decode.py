"""Decodes one picture with Pillow, to see whether it is one. Runs in the child process only."""

from __future__ import annotations

import io
import warnings

from PIL import GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from stepwired.images import format_of
from stepwired.imaging.wire import Decoded

#: Named here because importing the modules is what registers the formats.
_FORMATS = {
    GifImagePlugin.GifImageFile.format,
    JpegImagePlugin.JpegImageFile.format,
    PngImagePlugin.PngImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
}

_HEAD_BYTES = 30


def limit(pixels_count: int) -> None:
    """Have Pillow refuse more pixels than this, where left to itself it warns up to twice as many."""
    Image.MAX_IMAGE_PIXELS = pixels_count
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def decode(data: bytes) -> Decoded:
    """Check every part of the file that Pillow can check, and decode its first frame."""
    kind = format_of(data)
    if kind not in _FORMATS:
        return Decoded(fault="damaged")
    try:
        if kind == "WEBP" and _canvas_pixels(data) > (Image.MAX_IMAGE_PIXELS or 0):
            return Decoded(fault="pixels")  # Pillow would first make room for all of them
        with Image.open(io.BytesIO(data), formats=[kind]) as image:
            image.verify()
        with Image.open(io.BytesIO(data), formats=[kind]) as image:
            image.load()
            width, height = image.size
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return Decoded(fault="pixels")
    except Exception:  # noqa: BLE001 - a decoder raises whatever it likes at a damaged file, MemoryError too
        return Decoded(fault="damaged")
    return Decoded(width, height)


def _canvas_pixels(data: bytes) -> int:
    """Pixels that the head of a WebP announces, in one of three ways; 0 where there is no whole head."""
    if len(data) < _HEAD_BYTES:
        return 0
    if data[12:16] == b"VP8X":
        return (1 + int.from_bytes(data[24:27], "little")) * (1 + int.from_bytes(data[27:30], "little"))
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (1 + (bits & 0x3FFF)) * (1 + (bits >> 14 & 0x3FFF))
    return int.from_bytes(data[26:28], "little") % 0x4000 * (int.from_bytes(data[28:30], "little") % 0x4000)
