"""How much a message holds: what limits, groups of writes and pages count."""

from __future__ import annotations

from collections.abc import Mapping

from stepwired.events import Json, Message


def content_bytes(message: Message) -> int:
    """What a message says, in bytes of UTF-8: text, thoughts, a tool's input (see `json_bytes`), its result and its id.

    Metadata and pictures are not counted. Cost: none but that of `json_bytes` for what is ASCII.
    """
    size = _utf8_bytes(message.text)
    if message.reasoning:
        size += _utf8_bytes(message.reasoning.text) + len(message.reasoning.signature)
    if message.tool_use:
        size += _utf8_bytes(message.tool_use.tool_id) + json_bytes(message.tool_use.input)
    if message.tool_result:
        size += _utf8_bytes(message.tool_result.tool_id) + _utf8_bytes(message.tool_result.result)
    return size


def json_bytes(value: Json | Mapping[str, Json]) -> int:
    """What JSON takes in UTF-8 without blanks, about: characters are counted as if none had to be escaped.

    Cost: about 0.1 s for a million values.
    """
    size = 0
    todo: list[Json | Mapping[str, Json]] = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            size += 3 + _utf8_bytes(item)
        elif isinstance(item, Mapping):
            size += 3 + sum(3 + _utf8_bytes(key) for key in item)
            todo.extend(item.values())
        elif isinstance(item, list):
            size += 3
            todo.extend(item)
        else:
            size += 1 + len(repr(item))
    return size


def struct_bytes(value: Mapping[str, Json]) -> int:
    """What a JSON object takes as a protobuf Struct, exactly."""
    size = 0
    for key, item in value.items():
        size += _field_bytes(_field_bytes(_utf8_bytes(key)) + _field_bytes(_value_bytes(item)))
    return size


def _value_bytes(value: Json) -> int:
    if isinstance(value, str):
        return _field_bytes(_utf8_bytes(value))
    if isinstance(value, Mapping):
        return _field_bytes(struct_bytes(value))
    if isinstance(value, list):
        return _field_bytes(sum(_field_bytes(_value_bytes(item)) for item in value))
    return 2 if value is None or isinstance(value, bool) else 9  # a number is a double


def _field_bytes(size: int) -> int:
    """A field of so many bytes: its number, its length in groups of seven bits, itself."""
    return 1 + max(1, -(-size.bit_length() // 7)) + size


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
