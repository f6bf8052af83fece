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
        said = json.loads(text)
        if isinstance(said, dict):
            for name in _raw_fields(kind) & said.keys():
                said[name] = msgspec.Raw(json.dumps(said[name]).encode())
        return msgspec.convert(said, kind)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _raw_fields(kind: type[Any]) -> frozenset[str]:
    """Fields, as JSON names them, that are read later: no other value would do for them."""
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind) if field.type is msgspec.Raw)


def written(value: dict[str, Any]) -> str:
    """JSON text of what was read; lone surrogates in it become escapes, for whoever reads it to mend."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return json.dumps(value)
