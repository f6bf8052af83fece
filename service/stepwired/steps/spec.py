"""What a caller asks to have run: a tree of steps, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stepwired.events import ChatOptions


@dataclass(frozen=True, slots=True)
class Named:
    """The step of this name, optionally `name@version`."""

    name: str


@dataclass(frozen=True, slots=True)
class Compose:
    """The steps one after the other, each result of one being an input of the next."""

    steps: tuple[Spec, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """`step` on each item of a list, in order; as many at once as the step itself says."""

    step: Spec | None


@dataclass(frozen=True, slots=True)
class Spread:
    """A list to its items."""


@dataclass(frozen=True, slots=True)
class Gather:
    """All values of the step before, as one list."""


@dataclass(frozen=True, slots=True)
class ChatLeaf:
    """One reply of a model. What the input names wins over what stands here."""

    model: str = ""
    system: str = ""
    options: ChatOptions = field(default_factory=ChatOptions)


@dataclass(frozen=True, slots=True)
class EmbedLeaf:
    """A text to its vector, or each text of a list."""

    model: str = ""


@dataclass(frozen=True, slots=True)
class SearchLeaf:
    """Documents, ranked by how near they are to a query."""

    top_k: int | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class Render:
    """A template, filled with the input."""

    template: str


Kind = Named | Compose | Map | Spread | Gather | ChatLeaf | EmbedLeaf | SearchLeaf | Render


@dataclass(frozen=True, slots=True)
class Spec:
    """One step of a tree. Numbers are in range already: whoever makes a Spec has checked them."""

    kind: Kind | None
    """What it does; None where the caller left it out, which `registry.validate` reports."""

    path: str
    """Where it stands in the request, as in `steps[1].map.step`."""

    name: str = ""
    """What it is called in metadata and events; empty for its kind."""

    labels: Mapping[str, str] = field(default_factory=dict)
    max_concurrency: int = 1
    """How many of its inputs are worked on at once."""

    buffer: int = 1
    """How many of its results may wait to be taken."""
