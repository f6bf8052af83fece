"""What the JSON formats of conversations share: how values are read with their place, and how pictures are named."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf import struct_pb2, timestamp_pb2

from stepwire.v1 import message_pb2
from stepwired import jsonvalue
from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.events import Image, Json
from stepwired.jsonvalue import kind
from stepwired.rpc.convert.values import struct_of_json
from stepwired.store.codec.values import MAX_DEPTH, timestamp

T = TypeVar("T")

#: Writes the URL of a picture that is stored: its blob id, or its bytes.
Url = Callable[[Image], str]

_DATA_URL = re.compile(r"data:([A-Za-z0-9.+/-]{0,128})((?:;[^,;]{0,64}){0,4}),")


def fault(path: str, text: str) -> InvalidRequest:
    """The failure of a file that is not of its format."""
    return InvalidRequest.of([Violation(path, text, Reason.INVALID_CONVERSATION)])


class Fields:
    """The fields of one object of a file. Null is the same as missing."""

    def __init__(self, path: str, value: Any) -> None:
        if not isinstance(value, dict):
            raise fault(path, f"must be an object, and is {kind(value)}")
        self.path = path
        self._value = value

    def text(self, name: str) -> str:
        return self._typed(name, str, "a string", "")

    def flag(self, name: str) -> bool:
        return self._typed(name, bool, "true or false", False)

    def items(self, name: str) -> list[Any]:
        return self._typed(name, list, "a list", [])

    def has(self, name: str) -> bool:
        return self._value.get(name) is not None

    def get(self, name: str) -> Any:
        return self._value.get(name)

    def struct(self, name: str) -> struct_pb2.Struct:
        return struct(f"{self.path}.{name}", self._typed(name, dict, "an object", {}))

    def time(self, name: str) -> timestamp_pb2.Timestamp | None:
        """Read a time as RFC 3339 writes it."""
        text = self.text(name)
        if not text:
            return None
        time = timestamp_pb2.Timestamp()
        try:
            time.FromJsonString(text)
        except ValueError:
            raise fault(
                f"{self.path}.{name}", "is no time as RFC 3339 writes it, such as 2024-02-29T12:00:00Z"
            ) from None
        return time

    def _typed(self, name: str, wanted: type[T], what: str, default: T) -> T:
        value = self._value.get(name)
        if value is None:
            return default
        if not isinstance(value, wanted):
            raise fault(f"{self.path}.{name}", f"must be {what}, and is {kind(value)}")
        return value


def struct(path: str, value: dict[str, Json]) -> struct_pb2.Struct:
    """Read an object that protobuf can carry; how large it may be is checked later, as for a request."""
    if found := jsonvalue.fault(value, max_depth=MAX_DEPTH, path=path):
        raise fault(*found)
    return struct_of_json(value)


def time_text(nanoseconds: int) -> str:
    """Write a time as RFC 3339 does, with as many digits as it needs."""
    time = timestamp(nanoseconds)
    return time.ToJsonString() if time else ""


def picture(path: str, url: str) -> message_pb2.Image:
    """Read a picture from its URL: the bytes of a `data:` URL, a blob's id, or an address."""
    if not url.startswith("data:"):
        if url.startswith("sha256:"):
            return message_pb2.Image(blob_id=url)
        return message_pb2.Image(uri=url)
    head = _DATA_URL.match(url)
    if head is None or not head[2].endswith(";base64"):
        raise fault(path, "must be a data: URL in base64, an http or https URL, or a blob's id")
    try:
        data = base64.b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise fault(path, "has damaged base64") from None
    return message_pb2.Image(data=data)


def plain_url(image: Image) -> str:
    """Name a picture without its bytes."""
    return image.uri or image.blob_id or image.server_path
