"""Tools and formats of replies, each with its JSON Schema, in."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf import struct_pb2

from stepwire.v1 import chat_pb2
from stepwired.chat_checks import (
    SCHEMA_BYTES,
    TOOLS,
    check_each_name_once,
    check_name,
    check_tool,
    schema_of_json,
    schema_of_text,
)
from stepwired.errors import Reason
from stepwired.events import ResponseFormat, Tool
from stepwired.limits import Limits
from stepwired.rpc.convert.values import read_json
from stepwired.violations import Faults

_STEP_BYTES = 128
_BAD = Reason.MODEL_CONFIG_INVALID


def tools(path: str, given: Sequence[chat_pb2.Tool], limits: Limits, faults: Faults) -> tuple[Tool, ...]:
    """Read the tools that a model may ask for, each name once."""
    if len(given) > TOOLS:
        faults.add(path, f"has {len(given)} items, and the limit is {TOOLS}", _BAD)
        return ()
    read = tuple(_tool(f"{path}[{index}]", item, limits, faults) for index, item in enumerate(given))
    check_each_name_once(path, [item.name for item in given], faults)
    return read


def _tool(path: str, given: chat_pb2.Tool, limits: Limits, faults: Faults) -> Tool:
    check_tool(path, given.name, given.description, faults)
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
        check_name(f"{path}.name", given.name, faults)
    return ResponseFormat(schema, given.name or ResponseFormat().name, given.retry)


def _schema(path: str, given: struct_pb2.Struct | str, limits: Limits, faults: Faults, *, is_object: bool) -> bytes:
    """Read a schema as the provider gets it: text as it is, an object with its keys sorted. Empty beside a fault."""
    if isinstance(given, str):
        return schema_of_text(path, given, faults, is_object=is_object)
    before = len(faults.found)
    schema = read_json(path, given, 4 * SCHEMA_BYTES, limits, faults, _BAD)
    return b"" if len(faults.found) > before else schema_of_json(path, schema, limits, faults, is_object=is_object)
