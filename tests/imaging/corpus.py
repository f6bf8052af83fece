"""Pictures good and bad, each made when it is asked for."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from PIL import Image

from stepwired.errors import Reason

MIB = 1024 * 1024

TOO_LARGE = Reason.IMAGE_TOO_LARGE
DAMAGED = Reason.IMAGE_DECODE_FAILED
UNSUPPORTED = Reason.UNSUPPORTED_IMAGE_FORMAT


def drawn(kind: str, size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: Any) -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, **options)
    return file.getvalue()


def noise(kind: str, size: tuple[int, int], mode: str = "RGB", **options: Any) -> bytes:
    """A picture that does not compress."""
    file = io.BytesIO()
    Image.frombytes(mode, size, Random(1).randbytes(len(mode) * size[0] * size[1])).save(file, kind, **options)
    return file.getvalue()


def frames(kind: str, count: int) -> bytes:
    """A moving picture."""
    file = io.BytesIO()
    pictures = [Image.new("P", (2, 2), index % 2) for index in range(count)]
    pictures[0].save(file, kind, save_all=True, append_images=pictures[1:], duration=10, optimize=False)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int = 8, height: int = 8, extra: Iterable[bytes] = ()) -> bytes:
    """A PNG in black, a bit a pixel, with parts of one's own before the pixels."""
    return png_that_claims(width, height, bytes(((width + 7) // 8 + 1) * height), extra)


def png_that_claims(width: int, height: int, pixels: bytes = b"", extra: Iterable[bytes] = ()) -> bytes:
    """A PNG with whatever pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(pixels, 9))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + body + chunk(b"IEND", b"")


def png_of_bytes(size: int) -> bytes:
    """A PNG with exactly so many bytes."""
    padding = size - len(png()) - 12
    return png(extra=[chunk(b"prVt", bytes(padding))])


def bomb(name: bytes, before: bytes) -> bytes:
    """A PNG with a part that unpacks to 100 MiB."""
    return png(extra=[chunk(name, before + zlib.compress(bytes(100 * MIB), 9))])


def wide_webp(width: int, height: int) -> bytes:
    """A WebP that says it is that large."""
    head = b"VP8X" + struct.pack("<I", 10) + bytes(4)
    head += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + head + drawn("WEBP", lossless=True)[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def wide_gif(width: int, height: int) -> bytes:
    """A GIF that says it is that large."""
    made = bytearray(drawn("GIF", mode="P"))
    made[6:10] = struct.pack("<HH", width, height)
    return bytes(made)


def wide_gif_frame(width: int, height: int) -> bytes:
    """A GIF whose frame says it is larger than the whole."""
    made = bytearray(drawn("GIF", mode="P"))
    start = made.index(b",", 13 + 3)
    made[start + 5 : start + 9] = struct.pack("<HH", width, height)
    return bytes(made)


def slow_jpeg() -> bytes:
    """A progressive JPEG of 350 KB whose last scan comes 2,000 times over, which takes a minute to decode."""
    made = drawn("JPEG", (7000, 7000), "L", progressive=True)
    scan = made[made.rindex(b"\xff\xda") : -2]
    return made[:-2] + scan * 2000 + made[-2:]


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def flipped(data: bytes) -> bytes:
    """One bit of the pixels is wrong."""
    made = bytearray(data)
    made[data.index(b"IDAT") + 10] ^= 1
    return bytes(made)


@dataclass(frozen=True)
class Case:
    make: Callable[[], bytes]
    outcome: str | Reason
    """The media type, or why it is refused."""
    detected: str = ""

    @property
    def is_good(self) -> bool:
        return not isinstance(self.outcome, Reason)


def _good(kind: str, make: Callable[[], bytes]) -> Case:
    return Case(make, f"image/{kind}")


def _bad(make: Callable[[], bytes], reason: Reason = DAMAGED) -> Case:
    return Case(make, reason)


def _other(detected: str, make: Callable[[], bytes]) -> Case:
    return Case(make, UNSUPPORTED, detected)


#: What turns up in files that are several things at once.
PHP = b"<?php system($_GET['c']); ?><script>alert(1)</script>"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
NOISE = (300, 200)

CORPUS: Mapping[str, Case] = {
    "PNG": _good("png", lambda: drawn("PNG", mode="RGBA")),
    "PNG with 16 bits": _good("png", lambda: drawn("PNG", mode="I;16")),
    "PNG with packed text": _good("png", lambda: png(extra=[chunk(b"zTXt", b"k\0\0" + zlib.compress(b"text"))])),
    "JPEG": _good("jpeg", lambda: drawn("JPEG")),
    "JPEG progressive, in CMYK": _good("jpeg", lambda: drawn("JPEG", mode="CMYK", progressive=True)),
    "JPEG with a second one behind it (MPO)": _good(
        "jpeg", lambda: drawn("MPO", save_all=True, append_images=[Image.new("RGB", (40, 30))])
    ),
    "WebP": _good("webp", lambda: drawn("WEBP")),
    "WebP lossless": _good("webp", lambda: drawn("WEBP", mode="RGBA", lossless=True)),
    "WebP moving": _good("webp", lambda: frames("WEBP", 20)),
    "GIF": _good("gif", lambda: drawn("GIF", mode="P")),
    "GIF of 10,000 frames": _good("gif", lambda: frames("GIF", 10_000)),
    "APNG": _good("png", lambda: frames("PNG", 50)),
    "APNG that claims 2^31 frames": _good("png", lambda: png(extra=[chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))])),
    "20 MiB": _good("png", lambda: png_of_bytes(20 * 1024 * 1024)),
    "20 MiB and a byte": _bad(lambda: png_of_bytes(20 * 1024 * 1024 + 1), TOO_LARGE),
    "50 megapixels": _good("png", lambda: png(10_000, 5_000)),
    "a row more than 50 megapixels": _bad(lambda: png(10_000, 5_001), TOO_LARGE),
    "PNG of 13000 x 13000": _bad(lambda: png(13_000, 13_000), TOO_LARGE),
    "PNG of 14000 x 14000": _bad(lambda: png(14_000, 14_000), TOO_LARGE),
    "PNG of 2^31 x 2^31": _bad(lambda: png_that_claims(2**31 - 1, 2**31 - 1), TOO_LARGE),
    "JPEG of 8000 x 8000": _bad(lambda: drawn("JPEG", (8000, 8000), "L"), TOO_LARGE),
    "WebP of 16384 x 16384": _bad(lambda: wide_webp(16_384, 16_384), TOO_LARGE),
    "WebP of 16000 x 4000, simple": _bad(lambda: drawn("WEBP", (16_000, 4_000)), TOO_LARGE),
    "GIF of 65535 x 65535": _bad(lambda: wide_gif(65_535, 65_535), TOO_LARGE),
    "GIF with a frame of 65535 x 65535": _bad(lambda: wide_gif_frame(65_535, 65_535), TOO_LARGE),
    "PNG cut off": _bad(lambda: cut(noise("PNG", NOISE))),
    "JPEG cut off": _bad(lambda: cut(noise("JPEG", NOISE))),
    "WebP cut off": _bad(lambda: cut(noise("WEBP", NOISE))),
    "GIF cut off": _bad(lambda: cut(noise("GIF", NOISE))),
    "PNG with a wrong bit": _bad(lambda: flipped(noise("PNG", NOISE))),
    "PNG of nothing": _bad(lambda: png_that_claims(0, 0)),
    "PNG without its pixels": _bad(lambda: png_that_claims(8, 8)),
    "PNG with a wrong sum in its head": _bad(lambda: png().replace(struct.pack(">II", 8, 8), bytes(7) + b"\1")),
    "the beginning of a PNG alone": _bad(lambda: b"\x89PNG\r\n\x1a\n"),
    "the beginning of a JPEG alone": _bad(lambda: b"\xff\xd8\xff"),
    "the beginning of a GIF alone": _bad(lambda: b"GIF89a"),
    "the beginning of a WebP alone": _bad(lambda: b"RIFF\0\0\0\0WEBP"),
    "PNG's beginning before a program": _bad(lambda: b"\x89PNG\r\n\x1a\n" + PHP),
    "zTXt bomb": _bad(lambda: bomb(b"zTXt", b"k\0\0")),
    "iTXt bomb": _bad(lambda: bomb(b"iTXt", b"k\0\1\0\0\0")),
    "iCCP bomb": _bad(lambda: bomb(b"iCCP", b"k\0\0")),
    "PNG with a program behind it": _good("png", lambda: png() + PHP),
    "PNG that is a ZIP too": _good("png", lambda: png() + b"PK\x05\x06" + bytes(18)),
    "JPEG with a program in its comment": _good("jpeg", lambda: drawn("JPEG", comment=PHP)),
    "GIF that is JavaScript too": _good("gif", lambda: drawn("GIF", mode="P", comment=b"*/=1;alert(1)//")),
    "PDF with a PNG in it": _other("application/pdf", lambda: b"%PDF-1.7\n" + png()),
    "PostScript": _other("application/postscript", lambda: drawn("EPS")),
    "Photoshop": _other("image/vnd.adobe.photoshop", lambda: b"8BPS\0\1" + bytes(40)),
    "FITS": _other("image/fits", lambda: b"SIMPLE  =                    T" + bytes(2880)),
    "ICO": _other("image/x-icon", lambda: drawn("ICO")),
    "AVIF": _other("image/avif", lambda: drawn("AVIF")),
    "HEIC": _other("image/heic", lambda: bytes(3) + b"\x18ftypheic" + bytes(40)),
    "TIFF": _other("image/tiff", lambda: drawn("TIFF")),
    "TIFF, big-endian": _other("image/tiff", lambda: b"MM\0*" + bytes(40)),
    "BMP": _other("image/bmp", lambda: drawn("BMP")),
    "JPEG 2000": _other("image/jp2", lambda: drawn("JPEG2000")),
    "SVG": _other("image/svg+xml", lambda: SVG),
    "HTML": _other("application/octet-stream", lambda: b"<!doctype html>" + PHP),
    "text": _other("application/octet-stream", lambda: b"not a picture"),
    "nothing": _other("application/x-empty", lambda: b""),
    "one byte": _other("application/octet-stream", lambda: b"\x89"),
}
