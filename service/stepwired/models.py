"""Makes the catalogue of all models: of what the settings say, and of what is installed on this machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace

from stepwired import config
from stepwired.events import Price
from stepwired.limits import Limits
from stepwired.local.catalogue import Kind, find
from stepwired.local.models import installed
from stepwired.local.supervisor import LocalModel, Supervisor
from stepwired.providers.base import Address, Budget, Endpoint, ModelEntry, Secret, static
from stepwired.providers.caching.memory import InMemory, Keeper, Memory
from stepwired.providers.caching.replies import Replies
from stepwired.providers.caching.vectors import Vectors
from stepwired.providers.catalogue.catalogue import Catalogue
from stepwired.providers.catalogue.endpoints import KINDS
from stepwired.providers.catalogue.endpoints import Kind as Server
from stepwired.providers.catalogue.known import known
from stepwired.providers.catalogue.pictures import Kept
from stepwired.providers.net.http import Http
from stepwired.providers.wires.quirks import VENDORS, Quirks

#: Names that programs ask for out of habit, which the local models answer to where no configured model has them.
CHAT_ALIASES = (
    "gpt-3.5-turbo",
    "gpt-4",
    "gpt-4-turbo",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-5",
    "gpt-5-mini",
)
EMBED_ALIASES = ("text-embedding-3-large", "text-embedding-3-small", "text-embedding-ada-002")

_LOCAL_ABILITIES = ("tools", "json_schema", "logprobs")
"""Of the chat models of this machine that are known by name. Of others, nobody knows."""


def catalogue_of(
    settings: config.Settings,
    supervisor: Supervisor,
    http: Http,
    environ: Mapping[str, str],
    kept: Kept | None = None,
    keeper: Keeper | None = None,
) -> Catalogue:
    """All models: the configured ones, then those of this machine.

    Args:
        settings: Which there are.
        supervisor: Starts those of this machine.
        http: Connections to the others.
        environ: Holds their keys.
        kept: Where stored pictures are.
        keeper: Where vectors are kept, if not in memory.

    Raises:
        ConfigError: They do not fit together, or a key file cannot be read.
    """
    endpoints = [_endpoint(name, endpoint, settings.limits, environ) for name, endpoint in settings.endpoints.items()]
    models = [_model(name, model, settings.endpoints[model.endpoint].kind) for name, model in settings.models.items()]
    if settings.local.enabled:
        taken = {name for model in models for name in (model.name, *model.aliases)}
        for endpoint, model in _local(
            settings, supervisor, taken, {model.kind for model in models if model.is_default}
        ):
            endpoints.append(endpoint)
            models.append(model)
    cache = settings.cache
    replies = Replies(Memory(cache.chat_bytes, cache.chat_ttl_s)) if cache.chat == "memory" else None
    if keeper is None and cache.embeddings == "memory":
        keeper = InMemory(cache.embeddings_bytes)
    try:
        return Catalogue(endpoints, models, http, kept, replies=replies, vectors=Vectors(keeper))
    except ValueError as error:
        raise config.ConfigError([str(error)]) from error


def _endpoint(name: str, given: config.Endpoint, limits: Limits, environ: Mapping[str, str]) -> Endpoint:
    key = environ.get(given.api_key_env, "") if given.api_key_env else ""
    if given.api_key_file is not None:
        try:
            key = given.api_key_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise config.ConfigError([f"endpoints.{name}.api_key_file: {error}"]) from error
        if not key.strip():
            raise config.ConfigError([f"endpoints.{name}.api_key_file: is empty: {given.api_key_file}"])
    budget = replace(
        _budget(limits),
        connect_s=given.connect_s,
        first_byte_s=given.first_byte_s,
        idle_s=given.idle_s,
        total_s=given.total_s,
    )
    kind = KINDS.get(given.kind, Server())
    base_url = given.base_url.rstrip("/") + kind.path
    query = f"api-version={given.api_version}" if given.api_version else ""
    return Endpoint(
        name,
        static(base_url, Secret(key.strip()), key_header=kind.key_header, query=query),
        given.wire,
        given.api_key_env,
        budget,
        given.embed_batch,
        identity=base_url,
        keys=given.keys,
        quirks=kind.quirks,
    )


def _budget(limits: Limits) -> Budget:
    """What a provider may send is what a caller may send back: a reply that is larger could not be continued."""
    return Budget(text_bytes=limits.message_text_bytes, tool_bytes=limits.tool_input_bytes)


def _model(name: str, given: config.Model, kind: str) -> ModelEntry:
    provider_model = given.model or name
    facts = known(kind, provider_model)
    abilities: tuple[str, ...] | None = given.abilities
    price = None
    context_length, max_output_tokens = given.context_length, given.max_output_tokens
    if facts is not None:
        abilities = facts.abilities if abilities is None else abilities
        context_length = context_length or facts.context_length
        max_output_tokens = max_output_tokens or facts.max_output_tokens
        price = facts.price
    if given.price is not None:
        price = Price(given.price.input, given.price.output, given.price.cached_input)
    return ModelEntry(
        name,
        given.kind,
        given.endpoint,
        provider_model,
        given.aliases,
        given.dimensions or config.DIMENSIONS.get(provider_model),
        given.default,
        given.images,
        given.fallbacks,
        context_length,
        max_output_tokens,
        abilities,
        price,
    )


def _local(
    settings: config.Settings, supervisor: Supervisor, taken: set[str], with_default: set[str]
) -> Iterator[tuple[Endpoint, ModelEntry]]:
    """The models of this machine, each an endpoint of its own, under names that nobody has taken.

    The default ones are there whether installed or not: who asks for one that is not learns how to install it.
    """
    local = settings.local
    there = {model.name: model for model in installed(settings.server.data_dir)}
    found = {local.chat: Kind.CHAT, local.embed: Kind.EMBED} | {name: model.kind for name, model in there.items()}
    for name, kind in found.items():
        if name in taken:
            continue
        known_here = find(name)
        has_tools = there[name].has_tools if name in there else known_here is not None and known_here.has_tools
        is_first = name == (local.chat if kind is Kind.CHAT else local.embed)
        is_default = is_first and kind.value not in with_default
        aliases: tuple[str, ...] = ()
        # Beside a configured default they lead here still, and to no model that somebody pays for; but only if it is
        # installed: else the names that are near help more.
        if is_default or (is_first and name in there):
            aliases = CHAT_ALIASES if kind is Kind.CHAT else EMBED_ALIASES
        endpoint = Endpoint(
            f"local-{name}",
            _address(supervisor.model(name)),
            budget=_budget(settings.limits),
            quirks=_local_quirks(has_tools=has_tools) if kind is Kind.CHAT else Quirks(),
        )
        yield (
            endpoint,
            ModelEntry(
                name,
                kind.value,
                endpoint.name,
                name,
                tuple(alias for alias in aliases if alias not in taken),
                known_here.dimensions if known_here else None,
                is_default,
                abilities=_LOCAL_ABILITIES if known_here and kind is Kind.CHAT else None,
                chooses_tools=has_tools,
            ),
        )


def _local_quirks(*, has_tools: bool) -> Quirks:
    """llama.cpp in our own child process. It does not see to it that a model calls the tool that it has to."""
    return replace(VENDORS["llamacpp"], tools_by_format="forced" if has_tools else "always")


def _address(model: LocalModel) -> Callable[[], Awaitable[Address]]:
    async def where() -> Address:
        found = await model.address()
        return Address(found.base_url, found.api_key)

    return where
