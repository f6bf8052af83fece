"""What every provider module shares: where an endpoint is, what it may use, and what a wire format offers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol
from urllib.parse import quote

from stepwired.errors import InvalidRequest, Reason
from stepwired.events import Batch, ChatRequest, Embeddings, EmbedRequest, Price
from stepwired.limits import CONNECT_S, EMBED_BATCH, FIRST_BYTE_S, IDLE_S, KIB, MIB, TOTAL_S
from stepwired.providers import faults
from stepwired.providers.wires.quirks import Quirks


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
    """As in `https://api.openai.com/v1`; paths of the wire are appended. `{model}` stands for the model's name."""

    api_key: Secret | str = field(default="", repr=False)
    """Sent as a bearer token, or in `key_header`; empty sends none."""

    key_header: str = ""
    """Header for the key, in lower case; empty: `authorization`, as a bearer token."""

    query: str = ""
    """Put behind each URL, as in `api-version=2024-10-21`."""

    def key(self) -> str:
        """The key itself."""
        return self.api_key.reveal() if isinstance(self.api_key, Secret) else self.api_key

    def url(self, path: str, model: str = "") -> str:
        """Where a path of the wire, such as `chat/completions`, is for a model by the provider's name of it."""
        base_url = (
            self.base_url.replace("{model}", quote(model, safe="")) if "{model}" in self.base_url else self.base_url
        )
        if not self.query:
            return f"{base_url}/{path}"
        return f"{base_url}/{path}{'&' if '?' in path else '?'}{self.query}"

    def headers(self) -> dict[str, str]:
        """What shows the key: the `headers` of `Http.post`."""
        if not (key := self.key()):
            return {}
        return {self.key_header: key} if self.key_header else {"authorization": f"Bearer {key}"}


@dataclass(frozen=True, slots=True)
class Budget:
    """What one call to a provider may take: time and bytes.

    A caller's deadline is none of these, and shortens none of them: when it passes, the call is cancelled, and that
    closes the socket at once.
    """

    connect_s: float = CONNECT_S
    """Name lookup, TCP and TLS."""

    first_byte_s: float = FIRST_BYTE_S
    """From the call to the response's head; includes connecting."""

    idle_s: float = IDLE_S
    """Longest silence within a body while somebody waits for it. In a stream only text, reasoning and pieces of tool
    calls end a silence: comments, pings and empty chunks do not."""

    total_s: float = TOTAL_S
    """From the call to the body's end."""

    head_bytes: int = 64 * KIB
    event_bytes: int = 1 * MIB
    body_bytes: int = 64 * MIB

    text_bytes: int = 1 * MIB
    """A reply's text, and as much again of its reasoning, UTF-8. Together with `tool_bytes` a reply stays below what
    we can send, store and read back."""

    logprob_bytes: int = 32 * MIB
    """All probabilities of tokens and their alternatives that come with a reply."""

    tool_bytes: int = 1 * MIB
    """All tool calls of a reply together: inputs as they came, names and ids."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server that offers models, as the configuration names it."""

    name: str
    address: Callable[[], Awaitable[Address]]
    """Asked once a call, so that a server may be started on demand, or move."""

    wire: str = "openai"
    """Row of `wires.WIRES`."""

    api_key_env: str = ""
    """Environment variable that has to hold the key. If set and the address has no key, calls are refused."""

    budget: Budget = Budget()
    embed_batch: int = EMBED_BATCH
    """Most texts that the provider takes at once."""

    identity: str = ""
    """What else, beside its name, tells it from others that had the name before: its address, say."""

    keys: Literal["server", "caller"] = "server"
    """Whose key is sent: that of the configuration, or that of the caller and never another."""

    quirks: Quirks = Quirks()  # noqa: RUF009 - frozen
    """Its ways with the wire; `quirks.VENDORS` has those of known servers."""

    async def at(self, caller_key: str = "") -> Address:
        """Where to send one call, and with which key.

        Args:
            caller_key: The key that the caller brought; not looked at unless `keys` says so.

        Raises:
            Misconfigured: PROVIDER_NOT_CONFIGURED: there is no key.
            InvalidRequest: PROVIDER_CALLER_KEY_INVALID: the caller has to bring one and did not.
        """
        address = await self.address()
        if self.keys == "caller":
            if not caller_key:
                text = f"invalid api key: {self.name} is asked with its callers' keys, and this call brought none"
                raise InvalidRequest(Reason.PROVIDER_CALLER_KEY_INVALID, text, metadata={"provider": self.name})
            return replace(address, api_key=Secret(caller_key))
        if self.api_key_env and not address.key():
            what = f"{self.name} needs a key: set {self.api_key_env} in the server's environment"
            raise faults.unconfigured(self.name, what)
        return address


def static(
    base_url: str, api_key: Secret | str = "", *, key_header: str = "", query: str = ""
) -> Callable[[], Awaitable[Address]]:
    """The address of an endpoint that never moves; see `Address`."""
    address = Address(base_url.rstrip("/"), api_key, key_header, query)

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

    fallbacks: tuple[str, ...] = ()
    """Names of the models that are asked in its place, in order."""

    context_length: int | None = None
    """The most tokens that it reads and writes together, if known."""

    max_output_tokens: int | None = None
    abilities: tuple[str, ...] | None = None
    """Of `images`, `tools`, `json_schema`, `reasoning`, `logprobs`; None: unknown, so anything may be asked for."""

    price: Price | None = None
    chooses_tools: bool = True
    """Whether it can decide by itself to call a tool. If not, it calls one only where it has to."""


#: Makes one of the requests that many texts take, which is handed over, as often as it sees fit.
Attempting = Callable[[Callable[[], Awaitable[Embeddings]]], Awaitable[Embeddings]]


async def once(ask: Callable[[], Awaitable[Embeddings]]) -> Embeddings:
    """Ask, and let it fail."""
    return await ask()


class Wire(Protocol):
    """One endpoint, spoken to in its wire format. Models are named as the provider names them."""

    needs_max_tokens: bool
    """Whether a request has to say how long the reply may be."""

    def check(self, request: ChatRequest) -> None:
        """Refuse what this wire, or the model, has no words for. The model is named as the provider names it.

        Raises:
            InvalidRequest: MODEL_FEATURE_UNSUPPORTED, with each such field.
        """

    def chat(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        """Make one reply; see `events.Chat`."""

    async def embed(
        self, request: EmbedRequest, dimensions: int | None = None, attempt: Attempting = once
    ) -> Embeddings:
        """Turn texts into vectors, of this length if known, each of the requests that takes made by `attempt`."""
