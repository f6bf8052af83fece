"""Fills in what a case leaves open: names that are new in each run, values that came before, and large things.

In texts, `${id}` is new for each cell of the table; other names are those that the case saved. An object whose only key
begins with `$` is made:

    {$repeat: [TEXT, COUNT]}           a text
    {$noise: COUNT}                    so many bytes that look random, as base64
    {$png: [WIDTH, HEIGHT]}            a picture, as base64
    {$json: VALUE}                     a text: the value as JSON
    {$list: [COUNT, VALUE]}            a list; in VALUE, ${i} counts from 0
    {$pieces: {of, bytes, as, first}}  a list of messages that hold a file piece by piece in the field `as`
    {$nested: DEPTH}                   lists within lists
"""

from __future__ import annotations

import base64
import json
import random
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

_NAME = re.compile(r"\$\{(\w+)\}")


def fill(value: Any, names: Mapping[str, Any]) -> Any:
    """Make the value that a case means."""
    if isinstance(value, str):
        whole = _NAME.fullmatch(value)
        return names[whole[1]] if whole else _NAME.sub(lambda found: str(names[found[1]]), value)
    if isinstance(value, list):
        return [fill(each, names) for each in value]
    if isinstance(value, dict):
        if len(value) == 1 and (make := _MAKERS.get(next(iter(value)))):
            return make(next(iter(value.values())), names)
        return {fill(key, names): fill(each, names) for key, each in value.items()}
    return value


@lru_cache
def noise(count: int) -> bytes:
    """Make bytes that look random, the same each time."""
    return random.Random(count).randbytes(count)


@lru_cache
def png(width: int, height: int) -> bytes:
    """Make a picture that does not get smaller by compression."""
    pixels = noise(3 * width * height)
    rows = b"".join(b"\0" + pixels[3 * width * row : 3 * width * (row + 1)] for row in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, data) for kind, data in parts)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _repeat(given: Any, names: Mapping[str, Any]) -> str:
    text, count = given
    return str(fill(text, names)) * int(count)


def _list(given: Any, names: Mapping[str, Any]) -> list[Any]:
    count, each = given
    return [fill(each, {**names, "i": index}) for index in range(count)]


def _pieces(given: Any, names: Mapping[str, Any]) -> list[dict[str, Any]]:
    of = given["of"]
    made = fill(of, names)
    data = made.encode() if "$json" in of or "$repeat" in of else base64.b64decode(made)
    size = given["bytes"]
    messages = [{given["as"]: _base64(data[at : at + size])} for at in range(0, len(data), size)]
    messages[0] |= fill(given.get("first", {}), names)
    return messages


def _nested(depth: Any, _: Mapping[str, Any]) -> list[Any]:
    made: list[Any] = []
    for _level in range(depth - 1):
        made = [made]
    return made


_MAKERS: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "$repeat": _repeat,
    "$noise": lambda count, _: _base64(noise(count)),
    "$png": lambda size, _: _base64(png(*size)),
    "$json": lambda value, names: json.dumps(fill(value, names)),
    "$list": _list,
    "$pieces": _pieces,
    "$nested": _nested,
}
