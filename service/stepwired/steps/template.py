"""Prompt templates: text with places for the fields of a value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from stepwired.errors import InvalidRequest, Reason
from stepwired.events import Json

_PLACE = re.compile(r"\{\{\s*(\.|[^{}\s]+)\s*\}\}")


#: No list is as long as that; more digits than Python reads would be an error of another kind.
_INDEX = re.compile(r"[0-9]{1,9}")


def fill(template: str, value: Json, limit_bytes: int) -> str | None:
    """Put the fields of `value` in their places.

    `{{a.b}}` is a field of a field, `{{items.0}}` an item of a list, `{{.}}` the whole value. Texts go in as they
    are, everything else as compact JSON. What is put in is not looked at for places: it is data.

    Returns:
        The text; None if it would be larger than `limit_bytes`, which is noticed before it is made.

    Raises:
        InvalidRequest: A place names something that the value does not have.
    """
    parts: list[str] = []
    left = limit_bytes
    made: dict[str, str] = {}  # a place may come a thousand times
    for text, path in _parts(template):
        if path and path not in made:
            made[path] = _text(_field(value, path))
        part = made[path] if path else text
        left -= len(part) if part.isascii() else len(part.encode(errors="replace"))
        if left < 0:
            return None
        parts.append(part)
    return "".join(parts)


def _parts(template: str) -> Iterator[tuple[str, str]]:
    """Give the texts between places, with an empty path, and the paths of places, with an empty text, in order."""
    end = 0
    for place in _PLACE.finditer(template):
        yield template[end : place.start()], ""
        yield "", place[1]
        end = place.end()
    yield template[end:], ""


def _field(value: Json, path: str) -> Json:
    if path == ".":
        return value
    for key in path.split("."):
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and _INDEX.fullmatch(key) and int(key) < len(value):
            value = value[int(key)]
        else:
            raise InvalidRequest(Reason.STEP_INPUT_INVALID, f"the template wants {{{{{path}}}}}, which the value lacks")
    return value


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
