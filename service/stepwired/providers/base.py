"""What every provider module shares: where an endpoint is, what it may use, and what a wire format offers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from stepwired.events import Batch, ChatRequest, Embeddings, EmbedRequest
from stepwired.limits import KIB, MIB


class Secret:
    """A key that is read on purpose only: printing, formatting and pickling it give `***`."""

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, ("***",)

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Address:
    """Where an endpoint is now."""

    base_url: str
    """As in `https://api.openai.com/v1`; paths of the wire are appended."""

    api_key: Secret | str = field(default="", repr=False)
    """Sent as a bearer token; empty sends none."""

    def key(self) -> str:
        """The key itself."""
        return self.api_key.reveal() if isinstance(self.api_key, Secret) else self.api_key


@dataclass(frozen=True, slots=True)
class Budget:
    """What one call to a provider may take: time and bytes.

    A caller's deadline is none of these, and shortens none of them: when it passes, the call is cancelled, and that
    closes the socket at once.
    """

    connect_s: float = 5.0
    """Name lookup, TCP and TLS."""

    first_byte_s: float = 60.0
    """From the call to the response's head; includes connecting."""

    idle_s: float = 60.0
    """Longest silence within a body while somebody waits for it. In a stream only text, reasoning and pieces of tool
    calls end a silence: comments, pings and empty chunks do not."""

    total_s: float = 600.0
    """From the call to the body's end."""

    head_bytes: int = 64 * KIB
    event_bytes: int = 1 * MIB
    body_bytes: int = 64 * MIB

    text_bytes: int = 1 * MIB
    """A reply's text, and as much again of its reasoning, UTF-8. Together with `tool_bytes` a reply stays below what
    we can send, store and read back."""

    tool_bytes: int = 1 * MIB
    """All tool calls of a reply together: inputs as they came, names and ids."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server that offers models, as the configuration names it."""

    name: str
    address: Callable[[], Awaitable[Address]]
    """Asked once a call, so that a server may be started on demand, or move."""

    wire: str = "openai"
    """Row of `catalogue.WIRES`."""

    api_key_env: str = ""
    """Environment variable that has to hold the key. If set and the address has no key, calls are refused."""

    budget: Budget = Budget()
    embed_batch: int = 2048
    """Most texts that the provider takes at once."""


def static(base_url: str, api_key: Secret | str = "") -> Callable[[], Awaitable[Address]]:
    """The address of an endpoint that never moves."""
    address = Address(base_url.rstrip("/"), api_key)

    async def where() -> Address:
        return address

    return where


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model that callers can name."""

    name: str
    kind: Literal["chat", "embed"]
    endpoint: str
    """Name of its `Endpoint`."""

    provider_model: str
    """What the provider calls it."""

    aliases: tuple[str, ...] = ()
    dimensions: int | None = None
    """Length of its vectors, if known: a reply of another length is refused."""

    is_default: bool = False
    images: bool = False
    """Whether it can look at pictures."""


class Wire(Protocol):
    """One endpoint, spoken to in its wire format. Models are named as the provider names them."""

    def chat(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        """Make one reply; see `events.Chat`."""

    async def embed(self, request: EmbedRequest, dimensions: int | None = None) -> Embeddings:
        """Turn at most `Endpoint.embed_batch` texts into vectors, of this length if known; see `events.Embed`."""
