"""What an operator can decide, section by section; `config` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta
from platformdirs import user_data_path

from stepwired.limits import CONNECT_S, EMBED_BATCH, FIRST_BYTE_S, IDLE_S, MIB, TOTAL_S, Limits

Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(ge=0, le=1e7)]
Text = Annotated[str, Meta(min_length=1)]


@dataclass(frozen=True, slots=True)
class Server:
    """`[server]`. The field `grpc_port` is also read from `STEPWIRE_GRPC_PORT`, and so on for the rest."""

    host: Text = "127.0.0.1"
    """Address to listen on. Anything but a loopback address is refused: there is neither TLS nor a token yet."""

    grpc_port: Port = 50051
    """Port of the gRPC services; 0 takes a free one and prints it."""

    data_dir: Path = field(default_factory=lambda: user_data_path("stepwire"))
    """Where conversations and local models are kept."""

    durability: Literal["full", "relaxed"] = "full"
    """`full`: what is acknowledged survives the loss of power. `relaxed`: the end of the process only, but faster."""

    shutdown_grace_s: Seconds = 20.0
    """Seconds that running calls get to finish after SIGTERM."""

    drain_delay_s: Seconds = 0.0
    """Seconds that new calls are still served after SIGTERM, for load balancers that learn of it late."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"


@dataclass(frozen=True, slots=True)
class Web:
    """`[web]`: OpenAI's HTTP, and the page. The field `http_port` is also read from `STEPWIRE_HTTP_PORT`."""

    enabled: bool = True
    http_port: Port = 8080
    """Port of the front, on the host of `[server]`; 0 takes a free one and prints it."""

    page: bool = True
    """Whether the page to chat on is served at `/`."""

    allow_origins: tuple[Text, ...] = ()
    """Pages of other origins that may call this server, as in `http://localhost:3000`; `null`: pages opened from a
    disk, and any that a site makes look like one; `*`: every page there is."""

    allowed_hosts: tuple[Text, ...] = ()
    """Names that this server may be called by, beside `localhost`, `127.0.0.1` and `[::1]`; without port."""


@dataclass(frozen=True, slots=True)
class Local:
    """`[local]`: the models that run on this machine."""

    enabled: bool = True
    chat: Text = "smollm2"
    """The default chat model, as `stepwired models list` names it."""

    embed: Text = "minilm"
    """The default embedding model."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`[endpoints.NAME]`: a server that offers models. `config` fills in what its kind says and it does not."""

    kind: str = ""
    """A server that everybody knows, row of `providers.endpoints.KINDS`: all below has its defaults from there."""

    base_url: str = ""
    """Such as `https://api.openai.com/v1`; the paths of the wire are appended."""

    wire: str = ""
    """The format it speaks; `openai`, if neither this nor the kind says so."""

    api_key_env: str = ""
    """Environment variable that holds the key. Without one, no key is sent."""

    api_key_file: Path | None = None
    """File that holds the key, instead of a variable."""

    keys: Literal["server", "caller"] = "server"
    """`caller`: each call brings the key that is sent, and this server has none for it."""

    api_version: str = ""
    """Sent with each request to Azure."""

    connect_s: Seconds = CONNECT_S
    first_byte_s: Seconds = FIRST_BYTE_S
    idle_s: Seconds = IDLE_S
    total_s: Seconds = TOTAL_S
    embed_batch: Annotated[int, Meta(ge=1, le=EMBED_BATCH)] = EMBED_BATCH
    """Most texts that it takes in one request; fewer, where its wire allows fewer."""


Dollars = Annotated[float, Meta(ge=0, le=1e6)]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Ability = Literal["images", "tools", "json_schema", "reasoning", "logprobs"]


@dataclass(frozen=True, slots=True)
class Price:
    """`price` of a model: US dollars for each million tokens."""

    input: Dollars | None = None
    output: Dollars | None = None
    cached_input: Dollars | None = None
    """What the provider had in its cache; as `input` if not given."""


@dataclass(frozen=True, slots=True)
class Model:
    """`[models.NAME]`: a model that callers can name."""

    endpoint: Text
    """One of the endpoints."""

    model: str = ""
    """What the provider calls it; empty if the same."""

    aliases: tuple[Text, ...] = ()
    kind: Literal["chat", "embed"] = "chat"
    dimensions: Annotated[int, Meta(ge=1, le=65536)] | None = None
    """Length of its vectors. Needed for a model for embeddings that is not one of OpenAI's."""

    default: bool = False
    """Whether it answers where a request names no model."""

    images: bool = False
    """Whether it can look at images. Requests with images are refused where it cannot."""

    fallbacks: tuple[Text, ...] = ()
    """Models that are asked in its place, in this order, when it fails before its first token."""

    context_length: Count | None = None
    """The most tokens that it reads and writes together."""

    max_output_tokens: Count | None = None
    """The most tokens that it writes. Requests for more are refused."""

    abilities: tuple[Ability, ...] | None = None
    """What it can do beside text. Once given, requests for anything else are refused."""

    price: Price | None = None


@dataclass(frozen=True, slots=True)
class Cache:
    """`[cache]`: what is kept of providers' answers, so that the same is not asked twice."""

    chat: Literal["off", "memory"] = "off"
    """Whole replies, for the requests that allow it with `options.cache`."""

    chat_bytes: Count = 64 * MIB
    chat_ttl_s: Seconds = 3600.0
    """How long a reply is good."""

    embeddings: Literal["off", "memory", "disk", "file"] = "memory"
    """Vectors. `disk`, or `file`: in the data folder, where they outlive the server."""

    embeddings_bytes: Count = 64 * MIB


@dataclass(frozen=True, slots=True)
class Images:
    """`[images]`: where this server itself reads images, beside requests. Nowhere by default."""

    fetch: Literal["off", "public"] = "off"
    """`public`: an image's URL is fetched where a request says `fetch`, from servers with public addresses only."""

    allow_hosts: tuple[Text, ...] = ()
    """With `fetch`: only from these hosts, as in `images.example.com` or `*.example.com`."""

    roots: tuple[Path, ...] = ()
    """Folders whose files a request may name with `server_path`."""


@dataclass(frozen=True, slots=True)
class Functions:
    """`[functions]`: JavaScript that callers send. What one may use stands in `[limits]`."""

    enabled: bool = True
    """Whether it is run at all. Pipelines with functions are refused where it is not."""

    processes: Annotated[int, Meta(ge=1, le=64)] = 2
    """How many run at the same moment, each in a process of its own."""


@dataclass(frozen=True, slots=True)
class Tools:
    """`[tools]`: steps that chat models may have run on this server. None by default."""

    allow: tuple[Text, ...] = ()
    """Names of steps, without versions; each needs an input schema."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the operator can decide."""

    server: Server = field(default_factory=Server)
    web: Web = field(default_factory=Web)
    local: Local = field(default_factory=Local)
    limits: Limits = field(default_factory=Limits)
    images: Images = field(default_factory=Images)
    functions: Functions = field(default_factory=Functions)
    tools: Tools = field(default_factory=Tools)
    cache: Cache = field(default_factory=Cache)
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    models: Mapping[str, Model] = field(default_factory=dict)
    source: Path | None = None
    """The file that was read, if any."""

    warnings: tuple[str, ...] = ()
    """What looks like a mistake and is none that stops the server."""
