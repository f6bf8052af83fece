"""The fields of JSON objects, each with its place, read with every fault noted."""

from __future__ import annotations

from typing import TypeVar

from stepwired.errors import Reason
from stepwired.events import Json
from stepwired.jsonvalue import kind
from stepwired.violations import Faults

T = TypeVar("T")

#: What callers are told of at once: a list may have as many faults as items.
MOST_FAULTS = 50


class Fields:
    """One object of a request. Null is the same as missing; what nobody asks for is passed over.

    Args:
        value: What should be an object; anything else is a fault, and reads as an empty one.
        path: Where it is; empty for the request itself.
        faults: Is told what is wrong.
        reason: Of the faults.
    """

    def __init__(self, value: Json, path: str, faults: Faults, reason: Reason = Reason.FIELD_INVALID) -> None:
        self.path = path
        self.faults = faults
        self._reason = reason
        self._value: dict[str, Json] = {}
        if isinstance(value, dict):
            self._value = value
        else:
            faults.add(path, f"must be an object, and is {kind(value)}", reason)

    def place(self, name: str) -> str:
        """The path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        """Whether it is there."""
        return self._value.get(name) is not None

    def get(self, name: str) -> Json:
        """The field as it is."""
        return self._value.get(name)

    def text(self, name: str) -> str:
        """A string; empty where there is none."""
        return self._typed(name, str, "a string") or ""

    def flag(self, name: str) -> bool | None:
        """True or false; None where there is neither."""
        return self._typed(name, bool, "true or false")

    def items(self, name: str) -> list[Json]:
        """A list; empty where there is none."""
        return self._typed(name, list, "a list") or []

    def integer(self, name: str) -> int | None:
        """A whole number, however it is written; None where there is none."""
        value = self._value.get(name)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
        self.faults.add(self.place(name), f"must be a whole number, and is {_shown(value)}", self._reason)
        return None

    def number(self, name: str) -> float | None:
        """A number; None where there is none."""
        value = self._value.get(name)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        self.faults.add(self.place(name), f"must be a number, and is {kind(value)}", self._reason)
        return None

    def inner(self, name: str) -> Fields:
        """An object within; an empty one where there is none."""
        value = self._value.get(name)
        return Fields({} if value is None else value, self.place(name), self.faults, self._reason)

    def _typed(self, name: str, wanted: type[T], what: str) -> T | None:
        value = self._value.get(name)
        if value is None or isinstance(value, wanted):
            return value
        self.faults.add(self.place(name), f"must be {what}, and is {kind(value)}", self._reason)
        return None


def _shown(value: Json) -> str:
    return f"{value:g}" if isinstance(value, float) else kind(value)
