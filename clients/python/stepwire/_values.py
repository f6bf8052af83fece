"""JSON as Python has it, to and from protobuf's `Value`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, NullValue, Struct, Value

from stepwire import errors

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that a JSON number carries without loss (IEEE 754 double)."""


MAX_DEPTH = 32
"""Lists and objects that may lie inside each other, as for the server: protobuf reads little more."""


def to_value(value: Any) -> Value:
    """Make a `Value` of JSON, of a protobuf message, or of what has `tolist()`, such as an array of numpy.

    Raises:
        InvalidRequest: JSON cannot say it, or not without loss, or it is nested too deep.
    """
    made = Value()
    _fill(made, value, MAX_DEPTH)
    return made


def to_struct(value: dict[str, Any]) -> Struct:
    """Make a `Struct` of a JSON object; see `to_value`."""
    made = Struct()
    _fill_struct(made, value, MAX_DEPTH)
    return made


def _fill(made: Value, value: Any, depth: int) -> None:
    match value:
        case None:
            made.null_value = NullValue.NULL_VALUE
        case bool():
            made.bool_value = value
        case int() | float():
            made.number_value = _number(value)
        case str():
            made.string_value = value
        case dict():
            made.struct_value.SetInParent()
            _fill_struct(made.struct_value, value, depth)
        case Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            made.list_value.SetInParent()
            left = _below(depth)
            for item in value:
                _fill(made.list_value.values.add(), item, left)
        case Message():
            _fill(made, json_format.MessageToDict(value), depth)
        case _ if hasattr(value, "tolist"):
            _fill(made, value.tolist(), depth)
        case _:
            raise _refused(f"{type(value).__name__} is not JSON")


def _fill_struct(made: Struct, value: dict[str, Any], depth: int) -> None:
    left = _below(depth)
    for key, item in value.items():
        _fill(made.fields[_key(key)], item, left)


def _below(depth: int) -> int:
    if depth == 0:
        raise _refused(f"lists and objects are nested too deep: at most {MAX_DEPTH} may lie inside each other")
    return depth - 1


def _number(value: float) -> float:
    if not -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:  # false for NaN, too
        raise _refused(f"{value} is no number that JSON carries without loss: send it as a string")
    return float(value)


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise _refused(f"a key is {type(key).__name__}, not a string")
    return key


def _refused(why: str) -> errors.InvalidRequest:
    return errors.InvalidRequest(why, code="INVALID_ARGUMENT", reason="FIELD_INVALID")


def from_value(value: Value) -> Any:
    """Read a `Value` as JSON. Integral numbers up to 2^53-1 become `int`."""
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) <= MAX_SAFE_INTEGER else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return from_struct(value.struct_value)
        case "list_value":
            return _from_list(value.list_value)
        case _:
            return None


def from_struct(value: Struct) -> dict[str, Any]:
    """Read a `Struct` as a JSON object."""
    return {key: from_value(item) for key, item in value.fields.items()}


def _from_list(value: ListValue) -> list[Any]:
    return [from_value(item) for item in value.values]
