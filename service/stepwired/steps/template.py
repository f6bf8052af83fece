"""Prompt templates: text with places for the fields of a value."""

from __future__ import annotations

import json
import re

from stepwired.errors import InvalidRequest, Reason
from stepwired.events import Json

_PLACE = re.compile(r"\{\{\s*(\.|[^{}\s]+)\s*\}\}")


def fill(template: str, value: Json) -> str:
    """Put the fields of `value` in their places.

    `{{a.b}}` is a field of a field, `{{items.0}}` an item of a list, `{{.}}` the whole value. Texts go in as they
    are, everything else as compact JSON. What is put in is not looked at for places: it is data.

    Raises:
        InvalidRequest: A place names something that the value does not have.
    """
    return _PLACE.sub(lambda place: _text(_field(value, place[1])), template)


def _field(value: Json, path: str) -> Json:
    if path == ".":
        return value
    for key in path.split("."):
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            raise InvalidRequest(Reason.STEP_INPUT_INVALID, f"the template wants {{{{{path}}}}}, which the value lacks")
    return value


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
