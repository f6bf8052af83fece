"""Checks values against JSON Schemas that callers wrote: no network, no files, no pattern that takes forever."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import jsonschema_rs
import msgspec

from stepwired.events import Json

_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20)
"""Matches in linear time, whatever the pattern: Python's own would let one caller stop everybody."""

_COMPILED = 256
_STEPS = 64
"""Most keys and indices in the name of a place."""


class SchemaInvalid(ValueError):
    """It is no JSON Schema, or one that cannot be used here. The text says why and is for whoever wrote it."""


class Schema:
    """One compiled schema.

    Args:
        written: JSON Schema as JSON text, draft 2020-12 unless `$schema` names an older one.

    Raises:
        SchemaInvalid: It is none, points outside itself, or has a pattern with look-around or back references.
    """

    __slots__ = ("_validator",)

    def __init__(self, written: bytes) -> None:
        try:
            self._validator = jsonschema_rs.validator_for(
                msgspec.json.decode(written), pattern_options=_PATTERNS, retriever=_refuse
            )
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "message", "") or str(error).partition("\n")[0]
            raise SchemaInvalid(reason[:300]) from None

    def fault(self, value: Json) -> tuple[str, str] | None:
        """Find the first thing in `value` that the schema does not allow.

        Returns:
            Where it is, such as `$.items[0].price`, and what is wrong with it, without the value; None if all is well.
        """
        if self._validator.is_valid(value):
            return None
        error = next(self._validator.iter_errors(value))
        return place(error.instance_path), _why(error)


@lru_cache(_COMPILED)
def compiled(written: bytes) -> Schema:
    """As `Schema`, which is kept for the next who has the same. Cost: 0.1 ms at first."""
    return Schema(written)


def place(path: list[str | int]) -> str:
    """Name a place within a value, as in `$.items[0].price`."""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else _key(step) for step in path[:_STEPS])


def _key(name: str) -> str:
    if name.isidentifier() and len(name) <= 64:
        return f".{name}"
    return f"[{json.dumps(name[:64])}]"


def _why(error: Any) -> str:
    """What is wrong in the schema's words, not the value's: values may be secrets, and large."""
    keyword = str(error.schema_path[-1]) if error.schema_path else "schema"
    return f"does not match `{keyword}`" if not keyword.isdigit() else "does not match"


def _refuse(uri: str) -> Any:
    raise ValueError("only references within the schema are followed")
