"""Checks values against JSON Schemas that callers wrote: no network, no files, and nothing that takes forever."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Any
from urllib.parse import quote

import msgspec

from stepwired.events import Json
from stepwired.schema_costs import MOST_PARTS, Cost, part, parts_of, pointer_of

_COMPILED = 256
_PLACES = 64
"""Most steps on the way to a fault that are looked at."""

_MOST_WORK = 5_000_000
"""How often a part of a value is held against a part of a schema, at most: half a second, which holds up everybody."""

_MOST_COMPILED = 100_000
"""Schemas that are compiled to find one fault, at most, and those that are kept: half a second."""

#: Keywords that need no other to be checked, so that a fault can be put down to one.
_ALONE = frozenset(
    [
        "type",
        "enum",
        "const",
        "required",
        "pattern",
        "format",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
    ]
)


_ROOT = "urn:stepwire:schema"

_decode = msgspec.json.Decoder(dict[str, Any] | bool).decode


@cache
def _engine() -> tuple[Any, Any]:
    """The module that checks, and how: imported where a schema comes up, since it takes 9 MB.

    Patterns match in linear time: Python's own would let one caller stop everybody.
    """
    import jsonschema_rs

    return jsonschema_rs, jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20)


def _validator_of(schema: Any, **more: Any) -> Any:
    engine, patterns = _engine()
    return engine.validator_for(schema, pattern_options=patterns, **more)


class SchemaInvalid(ValueError):
    """It is no JSON Schema, or one that cannot be used here. The text says why and is for whoever wrote it."""


class Schema:
    """One compiled schema.

    Args:
        written: JSON Schema as JSON text, draft 2020-12 unless `$schema` names an older one.

    Raises:
        SchemaInvalid: It is none, refers to anything but places within itself, has a pattern with look-around or back
            references, or is one that references make too large.
    """

    __slots__ = ("_cost", "_registry", "_schema", "_validator")

    def __init__(self, written: bytes) -> None:
        try:
            self._schema = _decode(written)
            if isinstance(self._schema, dict):
                self._schema.pop("$id", None)  # what it is called elsewhere means nothing here
            self._cost = Cost(self._schema)
            if self._cost.parts <= MOST_PARTS:
                self._validator = _validator_of(self._schema, retriever=_refuse)
        except ValueError as error:
            raise SchemaInvalid(str(error).partition("\n")[0][:300]) from None
        except RecursionError:
            raise SchemaInvalid("nested too deep, or a chain of too many references") from None
        if self._cost.parts > MOST_PARTS:
            raise SchemaInvalid(f"its references make it larger than {MOST_PARTS} parts")
        self._registry: Any = None

    def fault(self, value: Json) -> tuple[str, str] | None:
        """Find something in `value` that the schema does not allow.

        Cost: 10 ms for 1 MiB with a plain schema, never more than about a second.

        Returns:
            Where it is, such as `$.items[0].price`, and what is wrong with it, without the value; None if all is well.
        """
        work = self._cost.parts * parts_of(value)
        if work > _MOST_WORK:
            return "$", "is too large for its schema: to check it would take too long"
        if self._validator.is_valid(value):
            return None
        pointer = "#"
        path: list[int | str] = []
        left = _Left(2 * _MOST_WORK, _MOST_COMPILED)
        for _ in range(_PLACES):
            left.work -= self._cost.parts * parts_of(value)
            try:
                below = self._below(pointer, value, left) if left.work >= 0 else None
            except ValueError:  # what a draft ignores may be no schema
                below = None
            if below is None:
                break
            step, pointer, value = below
            if step is not None:
                path.append(step)
        return place(path), _why(part(self._schema, pointer), value, self._draft)

    def _below(self, pointer: str, value: Json, left: _Left) -> tuple[int | str | None, str, Json] | None:
        """A part of the schema, and of the value, in which the fault lies; None if it is nowhere below.

        Asked part by part, because the engine, asked for its errors, lists those of each way through every `anyOf`:
        of a schema that contains itself they can be more than fit into memory.
        """
        schema = part(self._schema, pointer)
        if isinstance(schema, dict) and schema.keys() - {"$defs"} == {"$ref"}:
            return None, pointer_of(schema["$ref"]), value  # it says nothing else, so what fails is there
        for steps, said in _within(schema, value):
            below = said if said.startswith("#") else f"{pointer}/{said}"
            if not steps or part(self._schema, below) is None:
                continue
            left.compiled -= self._cost.size
            if left.compiled < 0:
                return None
            there = [value if step is None else value[step] for step in steps]  # type: ignore[index]
            if not self._at(below, left).is_valid(there):
                index = self._first(below, there, left)
                return steps[index], below, there[index]
        return None

    def _first(self, pointer: str, values: list[Json], left: _Left) -> int:
        """The first of several values that does not match. Halved again and again: one by one takes long."""
        allowed = self._at(pointer, left)
        low, high = 0, len(values)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if allowed.is_valid(values[low:middle]) else (low, middle)
        return low

    @property
    def _draft(self) -> dict[str, Any]:
        """What says of which draft of JSON Schema it is, for schemas that are made of its parts."""
        has_draft = isinstance(self._schema, dict) and "$schema" in self._schema
        return {"$schema": self._schema["$schema"]} if has_draft else {}

    def _at(self, pointer: str, left: _Left) -> Any:
        """What allows lists of which each item is allowed by the part of the schema at a pointer.

        Compiled when it is asked for: all parts at once would take long where many are chained. Kept until the fault
        is found, and no longer: they can be a hundred times as large as the schema.
        """
        if (known := left.parts.get(pointer)) is None:
            if self._registry is None:
                self._registry = _engine()[0].Registry([(_ROOT, self._schema)], retriever=_refuse)
            items = {"items": {"$ref": _ROOT + _quoted(pointer)}} | self._draft
            known = _validator_of(items, registry=self._registry)
            left.parts[pointer] = known
        return known


class _Left:
    """What may still be done to find a fault."""

    __slots__ = ("compiled", "parts", "work")

    def __init__(self, work: int, compiled: int) -> None:
        self.work = work
        self.compiled = compiled
        self.parts: dict[str, Any] = {}
        """What was compiled, by its place in the schema."""


@lru_cache(_COMPILED)
def compiled(written: bytes) -> Schema:
    """As `Schema`, which is kept for the next who has the same. Cost: 0.1 ms at first."""
    return Schema(written)


def place(path: list[int | str]) -> str:
    """Name a place within a value, as in `$.items[0].price`."""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else _key(step) for step in path)


def _key(name: str) -> str:
    return f".{name}" if name.isidentifier() and len(name) <= 64 else f"[{json.dumps(name[:64])}]"


def _within(schema: Any, value: Json) -> Iterator[tuple[Sequence[Any], str]]:
    """What a schema says of the parts of a value: the steps there (None: the value itself), and where it says so."""
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        yield [None], pointer_of(schema["$ref"])
    if isinstance(several := schema.get("allOf"), list):
        yield from (([None], f"allOf/{index}") for index in range(len(several)))
    if isinstance(value, dict):
        known = schema.get("properties")
        known = known if isinstance(known, dict) else {}
        yield from (([name], f"properties/{_escaped(name)}") for name in value if name in known)
        yield [name for name in value if name not in known], "additionalProperties"
    elif isinstance(value, list):
        is_old = isinstance(schema.get("items"), list)  # before draft 2020-12
        first, others = ("items", "additionalItems") if is_old else ("prefixItems", "items")
        listed = schema.get(first)
        count = min(len(listed) if isinstance(listed, list) else 0, len(value))
        yield from (([index], f"{first}/{index}") for index in range(count))
        yield range(count, len(value)), others


def _why(schema: Any, value: Json, draft: dict[str, Any]) -> str:
    """What is wrong in the schema's words, not the value's: values may be secrets, and large."""
    if schema is False:
        return "is not allowed"
    if isinstance(schema, dict):
        for keyword in sorted(_ALONE & schema.keys()):
            if not _is_allowed({keyword: schema[keyword]} | draft, value):
                wanted = msgspec.json.encode(schema[keyword]).decode()
                return f"does not match `{keyword}`: {wanted if len(wanted) <= 100 else wanted[:99] + '…'}"
        for keyword in ("anyOf", "oneOf", "not", "if", "contains"):
            if keyword in schema:
                return f"does not match `{keyword}`"
    return "does not match its schema"


def _is_allowed(schema: dict[str, Any], value: Json) -> bool:
    try:
        return bool(_validator_of(schema).is_valid(value))
    except ValueError:  # the draft ignores the keyword, and so do we
        return True


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _quoted(pointer: str) -> str:
    return "#" + quote(pointer.removeprefix("#"), safe="/~$:@!'()*+,;=&")


def _refuse(uri: str) -> Any:
    raise ValueError("only references within the schema are followed")
