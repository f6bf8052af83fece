"""JSON Schemas of steps, in."""

from __future__ import annotations

from typing import Literal

import msgspec

from stepwire.v1 import pipeline_pb2, step_run_pb2
from stepwired import jsonschemas
from stepwired.errors import Reason
from stepwired.events import Json
from stepwired.limits import KIB, Limits
from stepwired.rpc.convert.values import read_json
from stepwired.violations import Faults

SCHEMA_BYTES = 64 * KIB

Described = pipeline_pb2.Pipeline | step_run_pb2.WorkerStep
_Field = Literal["input_schema", "output_schema"]


def schema(path: str, given: Described, field: _Field, limits: Limits, faults: Faults) -> dict[str, Json] | None:
    """Read the schema of what a step takes or gives; None if it has none, or beside a violation."""
    if not given.HasField(field):
        return None
    before = len(faults.found)
    path = f"{path}.{field}" if path else field
    read = read_json(path, getattr(given, field), 4 * SCHEMA_BYTES, limits, faults, Reason.FIELD_INVALID)
    if len(faults.found) == before:
        faults.json(path, read, SCHEMA_BYTES, limits, Reason.FIELD_INVALID)
    if len(faults.found) > before or not isinstance(read, dict):
        return None
    try:
        jsonschemas.compiled(msgspec.json.encode(read))
    except jsonschemas.SchemaInvalid as error:
        faults.add(path, f"is no JSON Schema that can be used: {error}")
        return None
    return read
