"""JSON, times and failures on the wire."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf import struct_pb2, timestamp_pb2

from stepwire.v1 import message_pb2
from stepwired.errors import Broken, Failure, Reason, Throttled, Violation
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.rpc import status
from stepwired.store.codec.values import fill_struct, fill_value, json_of_value
from stepwired.violations import Faults

#: 0001-01-01 and 9999-12-31, in seconds since 1970.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
_NANOS = 10**9


class _TooManyError(Exception):
    """JSON has more values than one request may have."""


def read_json(
    path: str,
    given: struct_pb2.Value | struct_pb2.Struct,
    limit_bytes: int,
    limits: Limits,
    faults: Faults,
    reason: Reason,
) -> Json:
    """Read JSON that a caller sent; null beside a violation.

    Args:
        path: Where it is.
        given: The JSON.
        limit_bytes: What it may take as protobuf, which is looked at first.
        limits: Of the request.
        faults: Is told what is wrong, and counts the values of all JSON of the request.
        reason: Of its violations.
    """
    if (size := given.ByteSize()) > limit_bytes:
        faults.add(path, f"has {size} bytes as protobuf, and the limit is {limit_bytes}", reason)
        return None
    reader = _JsonReader(limits.json_values - faults.json_values)
    try:
        return reader.object(given) if isinstance(given, struct_pb2.Struct) else reader.value(given)
    except _TooManyError:
        text = f"the JSON of one request has at most {limits.json_values} values, all together"
        faults.add(path, text, reason)
        return None
    finally:
        faults.json_values += reader.count


def metadata_of(path: str, given: struct_pb2.Struct, limits: Limits, faults: Faults) -> dict[str, Json]:
    """Read metadata; empty beside a violation."""
    before = len(faults.found)
    read = read_json(path, given, 4 * limits.metadata_bytes, limits, faults, Reason.INVALID_METADATA)
    if len(faults.found) > before or not isinstance(read, dict):
        return {}
    faults.metadata(path, read, limits)
    return read


class _JsonReader:
    """Reads JSON and stops where there is too much of it."""

    def __init__(self, most: int) -> None:
        self.count = 0
        self._most = most

    def value(self, given: struct_pb2.Value) -> Json:
        self.count += 1
        if self.count > self._most:
            raise _TooManyError
        match given.WhichOneof("kind"):
            case "struct_value":
                return self.object(given.struct_value)
            case "list_value":
                return [self.value(item) for item in given.list_value.values]
            case _:
                return json_of_value(given)

    def object(self, given: struct_pb2.Struct) -> dict[str, Json]:
        return {key: self.value(value) for key, value in given.fields.items()}


def value_of_json(value: Json) -> struct_pb2.Value:
    """Write a JSON value that `jsonvalue.fault` finds no fault with."""
    written = struct_pb2.Value()
    fill_value(written, value)
    return written


def struct_of_json(value: Mapping[str, Json]) -> struct_pb2.Struct:
    """Write a JSON object that `jsonvalue.fault` finds no fault with."""
    written = struct_pb2.Struct()
    fill_struct(written, value, "")
    return written


def nanoseconds(path: str, time: timestamp_pb2.Timestamp, faults: Faults) -> int:
    """Read a point in time: nanoseconds since 1970, UTC; 0 beside a violation."""
    if not (_FIRST_SECOND <= time.seconds <= _LAST_SECOND and 0 <= time.nanos < _NANOS):
        faults.add(path, "must lie in the years 0001 to 9999, with nanos of 0 to 999999999", Reason.INVALID_TIME)
        return 0
    return time.seconds * _NANOS + time.nanos


def failure_message(failure: Failure) -> message_pb2.Failure:
    """Write the failure of one item of a stream that goes on."""
    after_s = failure.retry_after_s
    return message_pb2.Failure(
        reason=failure.reason,
        message=status.cut_message(str(failure)),
        code=status.code_number(failure.reason),
        metadata={key: status.cut(value, status.MAX_MESSAGE_BYTES) for key, value in failure.metadata.items()},
        retry_delay=None if after_s is None else status.duration(after_s),
    )


def violation_message(violation: Violation) -> message_pb2.Violation:
    """Write one fault of a spec."""
    return message_pb2.Violation(
        field=violation.field,
        reason=violation.reason,
        description=status.cut(violation.description, status.MAX_MESSAGE_BYTES),
    )


def not_unicode() -> Failure:
    """What a text with half a surrogate pair is answered with: no protobuf can hold it."""
    return Broken(Reason.PROVIDER_PROTOCOL_ERROR, "the model sent text that is not valid Unicode")


def too_large(limit_bytes: int, instead: str) -> Failure:
    """What a call that answers once is ended with when its answer would be too large."""
    return Throttled(
        Reason.RESPONSE_TOO_LARGE,
        f"the reply is larger than {limit_bytes} bytes: call {instead} instead",
        metadata={"limitBytes": str(limit_bytes)},
    )
