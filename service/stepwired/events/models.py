"""Models that callers can name, and texts as vectors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from stepwired.events.usage import Usage


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Texts to be turned into vectors, none of them empty."""

    texts: tuple[str, ...]
    model: str = ""
    caller_key: str = field(default="", repr=False)
    """The provider key that the caller brought, for endpoints whose keys callers bring. A secret."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector for each text of the request, in its order."""

    model: str
    dimensions: int
    rows: tuple[bytes, ...]
    """Each `4 * dimensions` bytes: little-endian IEEE 754 floats, all finite. They go to the wire as they are."""

    usage: Usage = field(default_factory=Usage)
    cache_hits: int = 0
    """How many of the texts were not asked for, because their vectors were known or being made already."""


#: All texts or none: raises the `Failure` of the first that cannot be done.
Embed = Callable[[EmbedRequest], Awaitable[Embeddings]]


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in US dollars for each million tokens. None: unknown."""

    input: float | None = None
    output: float | None = None
    cached_input: float | None = None
    """None: as `input`."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model that callers can name."""

    name: str
    aliases: tuple[str, ...]
    endpoint: str
    """Name of the endpoint it is asked through."""

    provider_model: str
    """What the provider calls it."""

    is_default: bool
    dimensions: int | None = None
    """Length of its vectors; None for a chat model."""

    context_length: int | None = None
    """The most tokens that it reads and writes together; None if unknown."""

    max_output_tokens: int | None = None
    abilities: tuple[str, ...] = ()
    """Of `images`, `tools`, `json_schema`, `reasoning`, `logprobs`, as far as known."""

    price: Price | None = None
    fallbacks: tuple[str, ...] = ()
    """The models that are asked in its place, in order."""
