"""Checks values against JSON Schemas that callers wrote: no network, no files, and nothing that takes forever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any
from urllib.parse import quote

import msgspec

from stepwired.events import Json

_COMPILED = 256
_PLACES = 64
"""Most steps on the way to a fault that are looked at."""

_MOST_PARTS = 10_000
"""Of a schema whose references are replaced by what they mean: checking takes time for each, and holds up everybody."""

_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_MAPS = ("properties", "patternProperties", "dependentSchemas")
_SINGLE = (
    "items",
    "additionalProperties",
    "contains",
    "not",
    "if",
    "then",
    "else",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
)

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
        SchemaInvalid: It is none, points outside itself, has a pattern with look-around or back references, or is one
            that references make too large.
    """

    __slots__ = ("_parts", "_registry", "_schema", "_validator")

    def __init__(self, written: bytes) -> None:
        try:
            self._schema = _decode(written)
            size = _Size(self._schema).of(self._schema)
            if size <= _MOST_PARTS:
                self._validator = _validator_of(self._schema, retriever=_refuse)
        except ValueError as error:
            raise SchemaInvalid(str(error).partition("\n")[0][:300]) from None
        except RecursionError:
            raise SchemaInvalid("nested too deep, or a chain of too many references") from None
        if size > _MOST_PARTS:
            raise SchemaInvalid(f"its references make it larger than {_MOST_PARTS} parts")
        self._registry: Any = None
        self._parts: dict[str, Any] = {}

    def fault(self, value: Json) -> tuple[str, str] | None:
        """Find something in `value` that the schema does not allow.

        Returns:
            Where it is, such as `$.items[0].price`, and what is wrong with it, without the value; None if all is well.
        """
        if self._validator.is_valid(value):
            return None
        pointer = "#"
        path: list[int | str] = []
        for _ in range(_PLACES):
            below = self._below(pointer, value)
            if below is None:
                break
            step, pointer, value = below
            if step is not None:
                path.append(step)
        return place(path), _why(_part(self._schema, pointer), value)

    def _below(self, pointer: str, value: Json) -> tuple[int | str | None, str, Json] | None:
        """A part of the schema, and of the value, in which the fault lies; None if it is nowhere below.

        Asked part by part, because the engine, asked for its errors, lists those of each way through every `anyOf`:
        of a schema that contains itself they can be more than fit into memory.
        """
        schema = _part(self._schema, pointer)
        if isinstance(schema, dict) and schema.keys() - {"$defs"} == {"$ref"} and schema["$ref"].startswith("#"):
            return None, schema["$ref"], value  # it says nothing else, so what fails is there
        for step, said in _within(schema, value):
            there = value if step is None else value[step]  # type: ignore[index]
            below = said if said.startswith("#") else f"{pointer}/{said}"
            if _part(self._schema, below) is not None and not self._at(below).is_valid(there):
                return step, below, there
        return None

    def _at(self, pointer: str) -> Any:
        """The part of the schema at a pointer, compiled. All of them at once would take long where many are chained."""
        if (known := self._parts.get(pointer)) is None:
            if self._registry is None:
                self._registry = _engine()[0].Registry([(_ROOT, self._schema)], retriever=_refuse)
            part = {"$ref": _ROOT + _quoted(pointer)}
            if isinstance(self._schema, dict) and "$schema" in self._schema:
                part["$schema"] = self._schema["$schema"]
            known = _validator_of(part, registry=self._registry)
            self._parts[pointer] = known
        return known


@lru_cache(_COMPILED)
def compiled(written: bytes) -> Schema:
    """As `Schema`, which is kept for the next who has the same. Cost: 0.1 ms at first."""
    return Schema(written)


def place(path: list[int | str]) -> str:
    """Name a place within a value, as in `$.items[0].price`."""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else _key(step) for step in path)


def _key(name: str) -> str:
    return f".{name}" if name.isidentifier() and len(name) <= 64 else f"[{json.dumps(name[:64])}]"


def _within(schema: Any, value: Json) -> Iterator[tuple[int | str | None, str]]:
    """What a schema says of the parts of a value: the step there (None: the value itself), and where it says so."""
    if not isinstance(schema, dict):
        return
    if isinstance(reference := schema.get("$ref"), str) and reference.startswith("#"):
        yield None, reference
    if isinstance(several := schema.get("allOf"), list):
        yield from ((None, f"allOf/{index}") for index in range(len(several)))
    if isinstance(value, dict):
        known = schema.get("properties")
        known = known if isinstance(known, dict) else {}
        yield from ((name, f"properties/{_escaped(name)}") for name in value if name in known)
        yield from ((name, "additionalProperties") for name in value if name not in known)
    elif isinstance(value, list):
        first = schema.get("prefixItems")
        count = len(first) if isinstance(first, list) else 0
        yield from ((index, f"prefixItems/{index}") for index in range(min(count, len(value))))
        yield from ((index, "items") for index in range(count, len(value)))


def _why(schema: Any, value: Json) -> str:
    """What is wrong in the schema's words, not the value's: values may be secrets, and large."""
    if schema is False:
        return "is not allowed"
    if isinstance(schema, dict):
        for keyword in sorted(_ALONE & schema.keys()):
            if not _validator_of({keyword: schema[keyword]}).is_valid(value):
                wanted = msgspec.json.encode(schema[keyword]).decode()
                return f"does not match `{keyword}`: {wanted if len(wanted) <= 100 else wanted[:99] + '…'}"
        for keyword in ("anyOf", "oneOf", "not", "if", "contains"):
            if keyword in schema:
                return f"does not match `{keyword}`"
    return "does not match its schema"


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _quoted(pointer: str) -> str:
    return "#" + quote(pointer.removeprefix("#"), safe="/~$:@!'()*+,;=&")


def _part(schema: Any, pointer: str) -> Any:
    for step in pointer.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(schema, dict):
            schema = schema.get(name)
        elif isinstance(schema, list) and name.isdigit() and int(name) < len(schema):
            schema = schema[int(name)]
        else:
            return None
    return schema


class _Size:
    """How large a schema is once its references are replaced; those to themselves count once."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._known: dict[int, int] = {}

    def of(self, schema: Any) -> int:
        if not isinstance(schema, dict):
            return 1
        if (known := self._known.get(id(schema))) is not None:
            return known
        self._known[id(schema)] = 1  # while it is looked at: a reference to itself
        size = 1 + sum(map(self.of, _parts(schema)))
        if isinstance(reference := schema.get("$ref"), str) and reference.startswith("#"):
            size += self.of(_part(self._schema, reference))
        self._known[id(schema)] = size
        return size


def _parts(schema: dict[str, Any]) -> Iterator[Any]:
    for name in _LISTS:
        if isinstance(several := schema.get(name), list):
            yield from several
    for name in _MAPS:
        if isinstance(named := schema.get(name), dict):
            yield from named.values()
    yield from (schema[name] for name in _SINGLE if isinstance(schema.get(name), dict))


def _refuse(uri: str) -> Any:
    raise ValueError("only references within the schema are followed")
