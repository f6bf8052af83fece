"""What a step with a schema takes and makes: values are made to fit where that is plain, else refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import msgspec

from stepwired.errors import InvalidRequest, Reason, StepFailed
from stepwired.events import Json
from stepwired.jsonschemas import compiled

_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,16})?([eE][+-]?[0-9]{1,2})?")

#: Makes a value fit a schema. Raises a `Failure` where it cannot.
Converter = Callable[[Json], Json]


def converter(schema: Mapping[str, Json] | None, *, is_input: bool) -> Converter | None:
    """Compile what makes the inputs or results of a step fit its schema; None where anything fits.

    Where a schema wants a number, an integer or a boolean and gets the text of one, that is taken for it, and the other
    way round; fields with a `default` that are missing are put in.

    Args:
        schema: JSON Schema.
        is_input: Whether STEP_INPUT_INVALID or STEP_OUTPUT_INVALID is the reason of what does not fit.

    Raises:
        SchemaInvalid: It is no schema.
    """
    if schema is None:
        return None
    written = dict(schema)
    checked = compiled(msgspec.json.encode(written))

    def convert(value: Json) -> Json:
        fitted = _fitted(value, written)
        if (fault := checked.fault(fitted)) is None:
            return fitted
        where, why = fault
        facts = {"jsonPath": where}
        if is_input:
            raise InvalidRequest(Reason.STEP_INPUT_INVALID, f"the step's input, {where}: {why}", metadata=facts)
        raise StepFailed(Reason.STEP_OUTPUT_INVALID, f"the step's result, {where}: {why}", metadata=facts)

    return convert


def _fitted(value: Json, schema: Json) -> Json:
    if not isinstance(schema, Mapping):
        return value
    if isinstance(value, dict):
        return _fitted_object(value, schema.get("properties"))
    if isinstance(value, list):
        items = schema.get("items")
        return [_fitted(item, items) for item in value] if isinstance(items, Mapping) else value
    return _fitted_scalar(value, schema.get("type"))


def _fitted_object(value: dict[str, Json], properties: Json) -> dict[str, Json]:
    if not isinstance(properties, Mapping):
        return value
    fitted = {key: _fitted(item, properties[key]) if key in properties else item for key, item in value.items()}
    for key, schema in properties.items():
        if key not in fitted and isinstance(schema, Mapping) and "default" in schema:
            fitted[key] = schema["default"]
    return fitted


def _fitted_scalar(value: Json, wanted: Json) -> Json:
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
