"""Steps that chat models may have run on this server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from stepwired.events.messages import Json


@dataclass(frozen=True, slots=True)
class ToolStep:
    """A step that may be a tool."""

    description: str
    schema: bytes
    """JSON Schema of its input, an object, with its keys sorted."""


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What came of one run of such a step."""

    text: str
    """The one value as compact JSON, a text as it is; none or several values as a list."""

    total_bytes: int
    """How long the whole text is in UTF-8; above that of `text` where it was cut."""

    facts: Mapping[str, Json] = field(default_factory=dict)
    """About the run: its id, step, time, usage."""


class ToolSteps(Protocol):
    """Finds and runs them."""

    async def find(self, name: str, /) -> ToolStep | None:
        """What `name` or `name@version` is as a tool; None if it may not be one, or there is none."""

    async def run(self, name: str, value: Json, /, *, limit_bytes: int) -> ToolAnswer:
        """Run a step on one value. Cancelling this cancels the run.

        Args:
            name: Of the step, with or without version.
            value: Its input.
            limit_bytes: What is kept of the text; the run goes on.

        Raises:
            Failure: Of the first item that failed, or of the run.
        """
