"""What a step with a schema takes and makes: values are made to fit where that is plain, else refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from stepwired.errors import InvalidRequest, Reason, StepFailed
from stepwired.events import Json
from stepwired.jsonschemas import compiled
from stepwired.limits import MIB
from stepwired.schema_costs import part, pointer_of

_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,16})?([eE][+-]?[0-9]{1,2})?")

#: Makes a value fit a schema. Raises a `Failure` where it cannot.
Converter = Callable[[Json], Json]


def converter(schema: Mapping[str, Json] | None, *, is_input: bool) -> Converter | None:
    """Compile what makes the inputs or results of a step fit its schema; None where anything fits.

    Where a schema wants a number, an integer or a boolean and gets the text of one, that is taken for it, and the other
    way round; of several types that it allows, the first that the value can be taken for. Fields with a `default` that
    are missing are put in; nothing is put into these. It reads `type`, `properties` and `items`, those behind `$ref`
    and in `allOf` too, and those of the only choice beside null in an `anyOf` or `oneOf`.

    Args:
        schema: JSON Schema.
        is_input: Whether STEP_INPUT_INVALID or STEP_OUTPUT_INVALID is the reason of what does not fit.

    Raises:
        SchemaInvalid: It is no schema.
    """
    if schema is None:
        return None
    raw = msgspec.json.encode(dict(schema))
    checked = compiled(raw)
    reader = _Reader(msgspec.json.decode(raw))

    def convert(value: Json) -> Json:
        fitting = _Fitting(reader)
        fitted = fitting.fitted(value, reader.whole)
        fault = checked.fault(fitted) if fitting.left_bytes >= 0 else ("$", "its defaults make it too large")
        if fault is None:
            return fitted
        where, why = fault
        facts = {"jsonPath": where}
        if is_input:
            raise InvalidRequest(Reason.STEP_INPUT_INVALID, f"the step's input, {where}: {why}", metadata=facts)
        raise StepFailed(Reason.STEP_OUTPUT_INVALID, f"the step's result, {where}: {why}", metadata=facts)

    return convert


@dataclass(slots=True)
class _Said:
    """What a schema and all that it points to say."""

    types: Sequence[str] = ()
    properties: dict[str, Json] = field(default_factory=dict)
    items: Json = None
    default: bytes | None = None
    """As JSON: what a step is given, it may change."""


class _Reader:
    """Reads schemas, each once."""

    def __init__(self, whole: Json) -> None:
        self.whole = whole
        self._known: dict[int, _Said] = {}

    def said(self, schema: Json) -> _Said:
        if (known := self._known.get(id(schema))) is None:
            known = self._known[id(schema)] = _Said()
            for each in self._all(schema):
                types = each.get("type", ())
                known.types = known.types or ((types,) if isinstance(types, str) else types)  # type: ignore[assignment]
                known.properties = _mapping(each.get("properties")) | known.properties
                known.items = each.get("items") if known.items is None else known.items
                if known.default is None and "default" in each:
                    known.default = msgspec.json.encode(each["default"])
        return known

    def _all(self, schema: Json) -> Iterator[dict[str, Json]]:
        """A schema and those that hold with it, each once."""
        waiting = [schema]
        seen: set[int] = set()
        while waiting:
            each = waiting.pop()
            if not isinstance(each, dict) or id(each) in seen:
                continue
            seen.add(id(each))
            yield each
            for keyword in ("anyOf", "oneOf"):
                choices = [one for one in _list(each.get(keyword)) if one != {"type": "null"}]
                waiting += choices if len(choices) == 1 else ()
            waiting += reversed(_list(each.get("allOf")))
            if "$ref" in each:
                waiting.append(part(self.whole, pointer_of(str(each["$ref"]))))


class _Fitting:
    """One value that is made to fit."""

    __slots__ = ("_reader", "left_bytes")

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader
        self.left_bytes = MIB
        """What defaults may still add; few bytes could become many, one for each item."""

    def fitted(self, value: Json, schema: Json) -> Json:
        said = self._reader.said(schema)
        if isinstance(value, dict):
            return self._object(value, said.properties) if said.properties else value
        if isinstance(value, list):
            return [self.fitted(item, said.items) for item in value] if isinstance(said.items, dict) else value
        return _fitted_scalar(value, said.types)

    def _object(self, value: dict[str, Json], properties: Mapping[str, Json]) -> dict[str, Json]:
        fitted = {key: self.fitted(item, properties[key]) if key in properties else item for key, item in value.items()}
        for key, schema in properties.items():
            if key not in fitted and (default := self._reader.said(schema).default) is not None:
                self.left_bytes -= len(default)
                if self.left_bytes >= 0:
                    fitted[key] = msgspec.json.decode(default)
        return fitted


def _mapping(said: Json) -> dict[str, Json]:
    return said if isinstance(said, dict) else {}


def _list(said: Json) -> list[Json]:
    return said if isinstance(said, list) else []


def _fitted_scalar(value: Json, types: Sequence[str]) -> Json:
    if any(_is(value, each) for each in types):
        return value
    for wanted in types:
        fitted = _as(value, wanted)
        if fitted is not value:
            return fitted
    return value


def _is(value: Json, wanted: str) -> bool:
    match wanted, value:
        case ("null", None) | ("boolean", bool()) | ("string", str()):
            return True
        case (("integer" | "number"), bool()):
            return False
        case ("integer", int()) | ("number", int() | float()):
            return True
    return False


def _as(value: Json, wanted: str) -> Json:
    match wanted, value:
        case "string", bool() | int() | float():
            return msgspec.json.encode(value).decode()
        case "integer", float() if value.is_integer():
            return int(value)
        case "boolean", "true" | "false":
            return value == "true"
        case (("number" | "integer"), str()) if _NUMBER.fullmatch(value):
            number = float(value)
            return int(number) if number.is_integer() and abs(number) < 2**53 else number
    return value
