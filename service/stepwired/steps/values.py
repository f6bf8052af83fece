"""What a value may be that a step makes: JSON, of a size and depth that every road carries."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter

from stepwired.errors import Failure, Reason, StepFailed, Throttled
from stepwired.events import Json
from stepwired.jsonvalue import fault
from stepwired.limits import Limits
from stepwired.steps.results import Value


def check(value: Json, limits: Limits, what: str) -> None:
    """Refuse what a run cannot carry on.

    Args:
        value: What a step made.
        limits: `step_value_bytes` and `metadata_depth` hold.
        what: Who made it, for the message.

    Raises:
        Throttled: STEP_LIMIT_EXCEEDED, it is too large.
        StepFailed: STEP_OUTPUT_INVALID, it is nested too deep, or no JSON.
    """
    if weigh(value, limits.step_value_bytes) > limits.step_value_bytes:
        raise too_large(limits, what)
    if found := fault(value, max_depth=limits.metadata_depth):
        where = f" at {found[0]}" if found[0] else ""
        raise StepFailed(Reason.STEP_OUTPUT_INVALID, f"{what} made what JSON cannot say{where}: {found[1]}")


def weigh(value: object, limit_bytes: int) -> int:
    """Say about how many bytes JSON takes; once it is more than the limit, look no further. Any depth will do."""
    weight = 0
    waiting = [value]
    while waiting and weight <= limit_bytes:
        each = waiting.pop()
        if isinstance(each, str):
            weight += 2 + (len(each) if each.isascii() else 3 * len(each))  # UTF-8 at its usual worst
        elif isinstance(each, dict):
            weight += 2 + 4 * len(each)
            if weight <= limit_bytes:
                waiting += each
                waiting += each.values()
        elif isinstance(each, list):
            weight += 2 + 2 * len(each)
            if weight <= limit_bytes:
                waiting += each
        else:
            weight += 8
    return weight


def too_large(limits: Limits, what: str) -> Failure:
    """The failure of a step that made too large a value. It stays with its item."""
    return Throttled(
        Reason.STEP_LIMIT_EXCEEDED,
        f"{what} made a value of more than {limits.step_value_bytes} bytes",
        metadata={"limitName": "step_value_bytes", "limit": str(limits.step_value_bytes)},
    )


class Gathered:
    """The list that `gather` makes, which holds its limits while it grows."""

    def __init__(self, as_json: Callable[[Value], Json], limits: Limits) -> None:
        self._as_json = as_json
        self._limits = limits
        self._placed: list[tuple[tuple[int, ...], Json]] = []
        self._weight = 0

    def add(self, path: tuple[int, ...], value: Value) -> None:
        """Put `value` where it belongs.

        Raises:
            Throttled: STEP_LIMIT_EXCEEDED, the list is too large with it.
        """
        given = self._as_json(value)
        self._weight += 2 + weigh(given, self._limits.step_value_bytes)
        if self._weight > self._limits.step_value_bytes:
            self._placed.clear()
            raise too_large(self._limits, "gather")
        self._placed.append((path, given))

    def whole(self) -> Json:
        """The list.

        Raises:
            StepFailed: STEP_OUTPUT_INVALID, it is nested too deep.
        """
        values = [value for _, value in sorted(self._placed, key=itemgetter(0))]
        check(values, self._limits, "gather")
        return values
