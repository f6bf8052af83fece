"""What a step may ask of somebody else: a function that the caller of a run, or a worker, serves."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from stepwired.events import Json


@dataclass(frozen=True, slots=True)
class Facts:
    """Where in which run a function is needed."""

    run_id: str
    step_path: str
    """The step: its position in the spec, as in `steps[1].map.step`."""

    path: tuple[int, ...]
    """The place of the input."""

    attempt: int = 1
    """From 1; above where a retry step runs it again."""

    time_left_s: float | None = None
    """How long the answer is waited for; None for as long as the run lasts."""


class Served(Protocol):
    """The functions that the caller of one run serves."""

    def call(self, function: str, value: Json, facts: Facts) -> AsyncGenerator[Json, None]:
        """Call a function; gives its outputs as they come. Closing this tells whoever serves it to stop.

        Raises:
            Failure: The function failed, or who serves it is gone.
        """
