"""Collects every fault of a request, so that its caller can mend them all at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from stepwired import jsonvalue
from stepwired.callers import REQUEST_ID_CHARACTERS, is_request_id
from stepwired.conversation.metadata import key_count
from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.events import Json
from stepwired.limits import Limits

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TOOL_ID_CHARACTERS = 4096
T = TypeVar("T")

_json = msgspec.json.Encoder()


class Faults:
    """The violations of one request, in the order of its fields. Each check adds at most one.

    Args:
        most: Once there are so many, the request is refused without a look at the rest. None: all are looked for.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self.found: list[Violation] = []
        self.json_values = 0
        """Values in all JSON that was read so far: they cost a hundred times the bytes they come in."""

    def add(self, path: str, description: str, reason: Reason = Reason.FIELD_INVALID) -> None:
        self.found.append(Violation(path, description, reason))
        if self._most is not None and len(self.found) >= self._most:
            self.stop()

    def stop(self) -> None:
        """Refuse the request if anything was found.

        Raises:
            InvalidRequest: With all that was found.
        """
        if self.found:
            raise InvalidRequest.of(self.found)

    def id(self, path: str, value: str, *, required: bool = False) -> None:
        """Check an id; an empty one is a missing one."""
        if not value:
            if required:
                self.add(path, "is needed", Reason.FIELD_REQUIRED)
        elif not _ID.fullmatch(value):
            self.add(path, "must be 1 to 128 of A-Z a-z 0-9 . _ : -")

    def tool_id(self, path: str, value: str) -> None:
        """Check the id of a tool call: providers make them as they like, of base64 for example."""
        if not value:
            self.add(path, "is needed", Reason.FIELD_REQUIRED)
        elif len(value) > _TOOL_ID_CHARACTERS or not (value.isascii() and value.isprintable()):
            self.add(path, f"must be 1 to {_TOOL_ID_CHARACTERS} printable ASCII characters")

    def request_id(self, path: str, value: str) -> None:
        """Check the id that makes a call safe to repeat; it may be empty."""
        if value and not is_request_id(value):
            self.add(path, f"must be 1 to {REQUEST_ID_CHARACTERS} printable ASCII characters")

    def text(
        self, path: str, value: str, limit_bytes: int, reason: Reason = Reason.FIELD_INVALID, *, required: bool = False
    ) -> int:
        """Check a text that may be empty unless it is required; the bytes of UTF-8 it takes."""
        if not value:
            if required:
                self.add(path, "is needed", Reason.FIELD_REQUIRED)
            return 0
        if "\0" in value:
            self.add(path, "has a NUL character", reason)
        size = utf8_bytes(value)
        if size > limit_bytes:
            self.add(path, f"has {size} bytes of UTF-8, and the limit is {limit_bytes}", reason)
        return size

    def count(self, path: str, count: int, most: int, *, least: int = 0) -> bool:
        """Check how many items a list has; False if they are too many to look at each."""
        if count < least:
            self.add(path, "is needed: it is empty", Reason.FIELD_REQUIRED)
        if count > most:
            self.add(path, f"has {count} items, and the limit is {most}")
        return count <= most

    def choice(self, path: str, given: int, known: Mapping[Any, T], what: str) -> T:
        """Look up what a value of an enum means; beside a violation, what none means."""
        if given not in known:
            self.add(path, f"{given} is no {what}")
        return known.get(given, known[0])

    def within(self, path: str, value: float, least: float, most: float, reason: Reason = Reason.FIELD_INVALID) -> None:
        """Check a number; NaN is never within."""
        if not least <= value <= most:
            self.add(path, f"is {_plain(value)}, and must be {_plain(least)} to {_plain(most)}", reason)

    def json(self, path: str, value: Json, limit_bytes: int, limits: Limits, reason: Reason) -> None:
        """Check that a value survives every road it takes, and its size as compact JSON."""
        if found := jsonvalue.fault(value, max_depth=limits.metadata_depth, path=path):
            self.add(*found, reason)
        elif (size := len(_json.encode(value))) > limit_bytes:
            self.add(path, f"has {size} bytes as JSON, and the limit is {limit_bytes}", reason)

    def metadata(self, path: str, value: Mapping[str, Json], limits: Limits) -> None:
        """Check metadata: what it holds, its size, and how many keys it has."""
        before = len(self.found)
        self.json(path, dict(value), limits.metadata_bytes, limits, Reason.INVALID_METADATA)
        if len(self.found) == before and (keys := key_count(value)) > limits.metadata_keys:
            self.add(path, f"has {keys} keys, and the limit is {limits.metadata_keys}", Reason.INVALID_METADATA)


def utf8_bytes(text: str) -> int:
    """Size of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def ordered(found: Sequence[Violation], paths: Sequence[str]) -> list[Violation]:
    """Bring violations from several checks into the order of the request.

    Args:
        found: The violations; those of one place keep their order.
        paths: The places, in the order of the request. A violation belongs to the longest that begins its path.
    """
    places = {path: index for index, path in enumerate(paths)}

    def place(violation: Violation) -> int:
        path = violation.field
        while path and path not in places:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return places.get(path, len(places))

    return sorted(found, key=place)


def _plain(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"
