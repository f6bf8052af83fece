"""JSON and times, as `stepwire.v1` writes them: what goes out can be read in again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from stepwired.events import MAX_SAFE_INTEGER, Json
from stepwired.jsonvalue import text_fault

#: Lists and objects that may lie inside each other: protobuf refuses to read a Struct somewhat deeper.
MAX_DEPTH = 32

_NS = 1_000_000_000


class Unstorable(ValueError):
    """What was to be stored could not be read back: text that UTF-8 cannot say, or JSON that some reader refuses.

    Attributes:
        part: Such as `tool_use.input`; empty if it may be any text.
        why: What is wrong with it.
    """

    def __init__(self, part: str, why: str) -> None:
        super().__init__(f"{part} {why}" if part else why)
        self.part, self.why = part, why


def timestamp(time_ns: int) -> Timestamp | None:
    """Write a point in time, given in nanoseconds since 1970, UTC; None for the 0 that means unknown."""
    if not time_ns:
        return None
    seconds, nanos = divmod(time_ns, _NS)
    return Timestamp(seconds=seconds, nanos=nanos)


def nanoseconds(time: Timestamp) -> int:
    """Read a point in time; 0 if it is not set."""
    return time.seconds * _NS + time.nanos


# By hand: several times as fast as the generic conversion, and integral numbers come back as int. It is checked on the
# way, at next to no cost, by the rules of `jsonvalue.fault`.


def json_of_struct(wire: Struct) -> dict[str, Json]:
    """Read a JSON object."""
    return {key: json_of_value(item) for key, item in wire.fields.items()}


def json_of_value(wire: Value) -> Json:
    """Read JSON. Integral numbers that a double says exactly become `int`; a value not set is null."""
    kind = wire.WhichOneof("kind")
    if kind == "number_value":
        number = wire.number_value
        return int(number) if number.is_integer() and abs(number) <= MAX_SAFE_INTEGER else number
    if kind == "struct_value":
        return json_of_struct(wire.struct_value)
    if kind == "list_value":
        return [json_of_value(item) for item in wire.list_value.values]
    plain: Any = getattr(wire, kind) if kind and kind != "null_value" else None
    return plain  # type: ignore[no-any-return]


def fill_struct(wire: Struct, value: Mapping[str, Json], part: str) -> None:
    """Write a JSON object into `wire`, which is empty.

    Raises:
        Unstorable: It holds what could not be read back; `part` is named.
    """
    wire.SetInParent()
    try:
        for key, item in value.items():
            fill_value(_field(wire, key), item, MAX_DEPTH - 1)
    except ValueError as error:
        raise Unstorable(part, str(error)) from None


def fill_value(wire: Value, value: Json, depth: int = MAX_DEPTH) -> None:
    """Write JSON into `wire`, which is empty.

    Raises:
        ValueError: It holds what could not be read back; the text says what.
    """
    if value is None:
        wire.null_value = 0  # type: ignore[assignment]  # the only value of its enum
    elif isinstance(value, bool):
        wire.bool_value = value
    elif isinstance(value, int | float):
        if not -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:  # nor is NaN
            raise ValueError("has a number that is not finite, or so large that it loses digits")
        wire.number_value = value
    elif isinstance(value, str):
        _check_text(value)
        wire.string_value = value
    elif depth == 0:
        raise ValueError(f"is nested deeper than {MAX_DEPTH}")
    elif isinstance(value, Mapping):
        wire.struct_value.SetInParent()
        for key, item in value.items():
            fill_value(_field(wire.struct_value, key), item, depth - 1)
    else:
        wire.list_value.SetInParent()
        for item in value:
            fill_value(wire.list_value.values.add(), item, depth - 1)


def _field(wire: Struct, key: str) -> Value:
    _check_text(key)
    return wire.fields[key]


def _check_text(text: str) -> None:
    if why := text_fault(text):
        raise ValueError(f"has a text that {why}")
