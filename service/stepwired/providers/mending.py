"""Reads JSON that msgspec refuses and is common all the same: bytes that are no UTF-8, half a surrogate pair."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def mended(data: bytes, kind: type[T]) -> T:
    """Read it into `kind`: U+FFFD for what is no UTF-8; texts may have lone surrogates.

    Raises:
        ValueError: It is no JSON, or of another shape.
    """
    text = data.decode("utf-8", "replace")
    if "\ufffd" not in text and "\\ud" not in text.lower():
        raise ValueError("there is nothing to mend")
    try:
        return msgspec.convert(json.loads(text), kind)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def written(value: dict[str, Any]) -> str:
    """JSON text of what was read; lone surrogates in it become escapes, for whoever reads it to mend."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return json.dumps(value)
