"""Where named steps come from: Python packages, saved pipelines, workers. The registry asks all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from stepwired.events import Json
from stepwired.steps.named import NamedStep
from stepwired.steps.spec import Spec


@dataclass(frozen=True, slots=True)
class StepInfo:
    """A step that pipelines can name."""

    name: str
    version: str
    description: str
    provider: str
    """`builtin`, the Python distribution that registered it, `pipeline`, or `worker`."""

    input_schema: Mapping[str, Json] | None = None
    output_schema: Mapping[str, Json] | None = None
    is_tool: bool = False
    """Whether a chat model may be given it: it has an input schema, and the operator lists it."""

    worker_count: int = 0
    """Workers that serve it now."""


@dataclass(frozen=True, slots=True)
class SavedPipeline:
    """A version of a pipeline: its steps run where it is named, as one composition."""

    name: str
    version: str
    steps: tuple[Spec, ...]
    """As `SpecReader.specs` reads them; their paths begin with `steps[0]`."""

    input_schema: Mapping[str, Json] | None = None


#: What a name can mean.
Found = NamedStep | SavedPipeline


class Source(Protocol):
    """Knows some of the steps that `named` can name."""

    async def find(self, name: str, version: str) -> Found | None:
        """Look one up.

        Args:
            name: Without a version.
            version: Empty for the highest there is.
        """

    async def infos(self) -> Sequence[StepInfo]:
        """All of them, each version of its own."""
