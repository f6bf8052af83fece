"""Small pictures."""

from __future__ import annotations

import io

from PIL import Image


def picture(kind: str, width: int = 4, height: int = 3) -> bytes:
    """Make a picture of a kind that Pillow writes."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(file, kind)
    return file.getvalue()


PNG = picture("PNG")
