"""One worker: what it serves, what it works on, and how busy that makes it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from stepwired.events import Json
from stepwired.steps.line import Line


@dataclass(frozen=True, slots=True)
class WorkerStep:
    """A step that a worker serves."""

    name: str
    version: str = "1"
    description: str = ""
    input_schema: Mapping[str, Json] | None = None
    output_schema: Mapping[str, Json] | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.version


@dataclass(frozen=True, slots=True)
class Registration:
    """What a worker serves. Its steps are in range already, and no two have name and version in common."""

    steps: tuple[WorkerStep, ...]
    max_in_flight: int = 1
    """How many calls it takes at once."""

    name: str = ""
    """What people call it."""


class Worker:
    """A worker that is connected. Made by `Workers.join`, ended by `Workers.leave`."""

    def __init__(self, registration: Registration, line: Line) -> None:
        self.id = str(uuid.uuid4())
        self.registration = registration
        self.line = line
        self.is_leaving = False
        """It gets no further calls."""
        self.has_left = False
        """It is gone."""
        self.last_used = 0

    @property
    def has_room(self) -> bool:
        return self.line.open_count < self.registration.max_in_flight

    @property
    def load(self) -> tuple[float, int]:
        """What workers are chosen by: how busy it is, and how recently it was chosen."""
        return self.line.open_count / self.registration.max_in_flight, self.last_used
