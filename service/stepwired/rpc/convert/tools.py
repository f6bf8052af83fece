"""Tools and formats of replies, each with its JSON Schema, in."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
from google.protobuf import struct_pb2

from stepwire.v1 import chat_pb2
from stepwired import jsonschemas
from stepwired.errors import Reason
from stepwired.events import Json, ResponseFormat, Tool
from stepwired.limits import KIB, Limits
from stepwired.rpc.convert.values import read_json
from stepwired.rpc.violations import Faults, utf8_bytes

_TOOLS = 128
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DESCRIPTION_BYTES = 8 * KIB
_SCHEMA_BYTES = 64 * KIB
_STEP_BYTES = 128
_BAD = Reason.MODEL_CONFIG_INVALID

_sorted = msgspec.json.Encoder(order="sorted")


def tools(path: str, given: Sequence[chat_pb2.Tool], limits: Limits, faults: Faults) -> tuple[Tool, ...]:
    """Read the tools that a model may ask for, each name once."""
    if len(given) > _TOOLS:
        faults.add(path, f"has {len(given)} items, and the limit is {_TOOLS}", _BAD)
        return ()
    places: dict[str, int] = {}
    read = []
    for index, item in enumerate(given):
        read.append(_tool(f"{path}[{index}]", item, limits, faults))
        first = places.setdefault(item.name, index)
        if item.name and first != index:
            faults.add(f"{path}[{index}].name", f"`{item.name[:64]}` is also the name of {path}[{first}]", _BAD)
    return tuple(read)


def _tool(path: str, given: chat_pb2.Tool, limits: Limits, faults: Faults) -> Tool:
    if not given.name:
        faults.add(f"{path}.name", "is needed", Reason.FIELD_REQUIRED)
    else:
        _check_name(f"{path}.name", given.name, faults)
    faults.text(f"{path}.description", given.description, _DESCRIPTION_BYTES, _BAD)
    if (kind := given.WhichOneof("arguments")) is not None:
        schema = _schema(f"{path}.{kind}", getattr(given, kind), limits, faults, is_object=True)
    else:  # what the step takes, or nothing
        schema = b"" if given.step else Tool("").schema
    faults.text(f"{path}.step", given.step, _STEP_BYTES, _BAD)
    return Tool(
        name=given.name,
        description=given.description,
        schema=schema,
        step=given.step,
        strict=given.strict if given.HasField("strict") else None,
    )


def response_format(path: str, given: chat_pb2.ResponseFormat, limits: Limits, faults: Faults) -> ResponseFormat:
    """Read what a reply has to look like."""
    schema = b""
    match given.WhichOneof("format"):
        case None:
            faults.add(path, "is empty: set schema, schema_json or json_object", Reason.FIELD_REQUIRED)
        case "json_object":
            if not given.json_object:
                faults.add(f"{path}.json_object", "is false: leave it out, or set another format", _BAD)
        case kind:
            schema = _schema(f"{path}.{kind}", getattr(given, kind), limits, faults, is_object=False)
    if given.name:
        _check_name(f"{path}.name", given.name, faults)
    return ResponseFormat(schema, given.name or ResponseFormat().name, given.retry)


def _check_name(path: str, name: str, faults: Faults) -> None:
    if not _NAME.fullmatch(name):
        faults.add(path, "must be 1 to 64 of A-Z a-z 0-9 _ -", _BAD)


def _schema(path: str, given: struct_pb2.Struct | str, limits: Limits, faults: Faults, *, is_object: bool) -> bytes:
    """Read a schema as the provider gets it: text as it is, an object with its keys sorted. Empty beside a fault."""
    before = len(faults.found)
    schema: Json = None
    raw = b""
    if isinstance(given, str):
        if (size := utf8_bytes(given)) > _SCHEMA_BYTES:
            faults.add(path, f"has {size} bytes, and the limit is {_SCHEMA_BYTES}", _BAD)
            return b""
        raw = given.encode()
        try:
            schema = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            faults.add(path, "is no JSON", _BAD)
            return b""
    else:
        schema = read_json(path, given, 4 * _SCHEMA_BYTES, limits, faults, _BAD)
        if len(faults.found) == before:
            faults.json(path, schema, _SCHEMA_BYTES, limits, _BAD)
        raw = b"" if len(faults.found) > before else _sorted.encode(schema)
    if len(faults.found) == before and (why := _schema_fault(schema, raw, is_object=is_object)) is not None:
        faults.add(path, why, _BAD)
    return raw if len(faults.found) == before else b""


def _schema_fault(schema: Json, raw: bytes, *, is_object: bool) -> str | None:
    """Say what keeps JSON from being a schema that we and a provider can work with; None if nothing does."""
    if not isinstance(schema, dict):
        return "is no JSON object"
    if is_object and schema.get("type") != "object":
        return 'must say "type": "object": arguments are an object'
    try:
        jsonschemas.compiled(raw)
    except jsonschemas.SchemaInvalid as error:
        return f"is no JSON Schema that can be used: {error}"
    return None
