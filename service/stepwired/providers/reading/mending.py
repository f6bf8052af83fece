"""Reads JSON that msgspec refuses and is common all the same: bytes that are no UTF-8, half a surrogate pair."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

from stepwired.events import Json

T = TypeVar("T")

#: What msgspec raises for bytes that are no JSON, no UTF-8, nested too deep, or of another shape.
MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read_mended(data: bytes, kind: type[T]) -> T:
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


def without_surrogates(value: Json) -> Json:
    """JSON whose escapes may have named lone surrogates, with U+FFFD for them."""
    match value:
        case str():
            return whole(value)
        case list():
            return [without_surrogates(item) for item in value]
        case dict():
            return {whole(name): without_surrogates(item) for name, item in value.items()}
        case _:
            return value


def lenient(data: bytes) -> tuple[Any, bool]:
    """Read JSON that msgspec may refuse and that is common all the same, and say whether it was mended.

    Bytes that are no UTF-8 become U+FFFD; halves of surrogate pairs stay in the texts, see `joined`.

    Raises:
        ValueError: It is no JSON, even so.
    """
    text = data.decode("utf-8", "replace")
    is_odd = "\ufffd" in text or "\\ud" in text.lower()
    try:
        return (json.loads(text) if is_odd else msgspec.json.decode(data)), is_odd
    except RecursionError:
        raise ValueError("nested too deep") from None


def joined(text: str) -> tuple[str, str]:
    """Join surrogate halves to characters, put U+FFFD for lone ones, and keep back a half that may be continued."""
    half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
    return whole(text[:-1] if half else text), half


def whole(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which no UTF-8 can carry."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
