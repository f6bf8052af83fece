"""How much time is left to the call that is being served."""

from __future__ import annotations

import math
import time
from contextvars import ContextVar
from typing import Final


class Deadline:
    """When something has to be over, on the clock of `time.monotonic`. It can move while the work goes on."""

    __slots__ = ("at_s",)

    def __init__(self, at_s: float = math.inf) -> None:
        self.at_s = at_s

    def left_s(self) -> float:
        """Seconds until then; below 0 once it has passed, infinite if there is none."""
        return self.at_s - time.monotonic()


_NONE: Final = Deadline()

#: Of the work that this task does. Set once a call by who took it, and inherited by the tasks that are made for it.
deadline: ContextVar[Deadline] = ContextVar("deadline", default=_NONE)


def set_time_left(left_s: float | None) -> None:
    """Say how much time the current call has left, in seconds; None: as much as it likes.

    Nothing is ended by it: whoever set the deadline does that. It is for those who would wait, and need not
    begin to if that took longer.
    """
    deadline.set(_NONE if left_s is None else Deadline(time.monotonic() + left_s))


def time_left_s() -> float:
    """Seconds that the current call has left; infinite if it has no deadline."""
    return deadline.get().left_s()
