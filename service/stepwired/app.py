"""The one page of wiring: which parts there are, and who is given what."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version

from stepwired import config
from stepwired.imaging.files import Files
from stepwired.imaging.intake import Images
from stepwired.imaging.pool import Decoders
from stepwired.limits import Limits
from stepwired.local.catalogue import Kind, find
from stepwired.local.models import installed
from stepwired.local.supervisor import LocalModel, Supervisor
from stepwired.observe.metrics import NoMetrics
from stepwired.providers.base import Address, Budget, Endpoint, ModelEntry, Secret, static
from stepwired.providers.catalogue import Catalogue, Resolve
from stepwired.providers.http import Http
from stepwired.rpc.convert.chat import chat_request_of_json
from stepwired.rpc.convert.runs import as_json
from stepwired.rpc.pictures import Pictures
from stepwired.rpc.pipelines import load
from stepwired.rpc.server import Parts, Server
from stepwired.steps.leaves import Models
from stepwired.steps.named import discover
from stepwired.steps.pipelines import Pipelines
from stepwired.steps.registry import Registry
from stepwired.store.parts import Blobs
from stepwired.store.replies import recorded
from stepwired.store.sqlite import SqliteStore

VERSION = version("stepwired")

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


@dataclass(frozen=True, slots=True)
class Running:
    """The service, while it serves."""

    server: Server
    address: str
    """Such as `127.0.0.1:50051`."""


@asynccontextmanager
async def service(settings: config.Settings, environ: Mapping[str, str] = os.environ) -> AsyncGenerator[Running]:
    """Build the whole service and serve; leaving ends what was begun, last begun first.

    Raises:
        ConfigError: The models do not fit together, or a key file cannot be read.
        Failure: The store cannot be opened.
        CannotListen: The port cannot be had.
        BrokenStepError: A registered step does not load.
    """
    named = discover()
    async with AsyncExitStack() as parts:
        supervisor = Supervisor(settings.server.data_dir)
        parts.push_async_callback(supervisor.close)
        http = Http()
        parts.push_async_callback(http.aclose)
        store = await SqliteStore.open(
            settings.server.data_dir, limits=settings.limits, durability=settings.server.durability
        )
        parts.push_async_callback(store.close)
        images = images_of(settings)
        parts.push_async_callback(images.close)
        catalogue = catalogue_of(settings, supervisor, http, environ, blob_bytes(store))
        pictures = Pictures(images, store, settings.limits)
        chat = catalogue.checked(pictures.taking(recorded(catalogue.chat, store, settings.limits)))
        read_request = partial(chat_request_of_json, limits=settings.limits)
        steps = Registry(Models(chat, catalogue.embed, read_request, as_json), named, settings.limits)
        pipelines = Pipelines(settings.limits)
        await load(store, pipelines, settings.limits)
        server = Server(
            Parts(chat, catalogue.embed, catalogue, store, steps, pictures, pipelines), settings.limits, NoMetrics()
        )
        parts.push_async_callback(server.drain, 0.0)  # does nothing to a server that was drained
        port = await server.start(settings.server.host, settings.server.grpc_port)
        host = f"[{settings.server.host}]" if ":" in settings.server.host else settings.server.host
        yield Running(server, f"{host}:{port}")


def images_of(settings: config.Settings) -> Images:
    """All ways for a picture to come in. Starts nothing.

    Raises:
        ConfigError: A host that may be fetched from cannot be one.
    """
    fetch = None
    if settings.images.fetch == "public":
        from stepwired.providers.fetch import ImageFetcher

        try:
            fetch = ImageFetcher(settings.limits, allow_hosts=settings.images.allow_hosts).fetch
        except ValueError as error:
            raise config.ConfigError([f"images.allow_hosts: {error}"]) from error
    return Images(Decoders(settings.limits), Files(settings.images.roots, settings.limits), fetch, settings.limits)


def blob_bytes(store: Blobs) -> Resolve:
    """How the bytes of a stored picture are read, whole."""

    async def read(blob_id: str) -> bytes:
        async with aclosing(store.blob_chunks(blob_id)) as chunks:
            return b"".join([chunk async for chunk in chunks])

    return read


def catalogue_of(
    settings: config.Settings,
    supervisor: Supervisor,
    http: Http,
    environ: Mapping[str, str],
    resolve: Resolve | None = None,
) -> Catalogue:
    """All models: the configured ones, then those of this machine.

    Args:
        settings: Which there are.
        supervisor: Starts those of this machine.
        http: Connections to the others.
        environ: Holds their keys.
        resolve: The bytes of a stored picture.

    Raises:
        ConfigError: They do not fit together, or a key file cannot be read.
    """
    endpoints = [_endpoint(name, endpoint, settings.limits, environ) for name, endpoint in settings.endpoints.items()]
    models = [_model(name, model) for name, model in settings.models.items()]
    if settings.local.enabled:
        taken = {name for model in models for name in (model.name, *model.aliases)}
        for endpoint, model in _local(
            settings, supervisor, taken, {model.kind for model in models if model.is_default}
        ):
            endpoints.append(endpoint)
            models.append(model)
    try:
        return Catalogue(endpoints, models, http, resolve)
    except ValueError as error:
        raise config.ConfigError([str(error)]) from error


def _endpoint(name: str, given: config.Endpoint, limits: Limits, environ: Mapping[str, str]) -> Endpoint:
    key = environ.get(given.api_key_env, "") if given.api_key_env else ""
    if given.api_key_file is not None:
        try:
            key = given.api_key_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise config.ConfigError([f"endpoints.{name}.api_key_file: {error}"]) from error
    budget = replace(
        _budget(limits),
        connect_s=given.connect_s,
        first_byte_s=given.first_byte_s,
        idle_s=given.idle_s,
        total_s=given.total_s,
    )
    return Endpoint(name, static(given.base_url, Secret(key.strip())), given.wire, given.api_key_env, budget)


def _budget(limits: Limits) -> Budget:
    """What a provider may send is what a caller may send back: a reply that is larger could not be continued."""
    return Budget(text_bytes=limits.message_text_bytes, tool_bytes=limits.tool_input_bytes)


def _model(name: str, given: config.Model) -> ModelEntry:
    provider_model = given.model or name
    dimensions = given.dimensions or config.DIMENSIONS.get(provider_model)
    return ModelEntry(
        name, given.kind, given.endpoint, provider_model, given.aliases, dimensions, given.default, given.images
    )


def _local(
    settings: config.Settings, supervisor: Supervisor, taken: set[str], with_default: set[str]
) -> Iterator[tuple[Endpoint, ModelEntry]]:
    """The models of this machine, each an endpoint of its own, under names that nobody has taken.

    The default ones are there whether installed or not: who asks for one that is not learns how to install it.
    """
    local = settings.local
    found = {model.name: model.kind for model in installed(settings.server.data_dir)}
    found = {local.chat: Kind.CHAT, local.embed: Kind.EMBED} | found
    for name, kind in found.items():
        if name in taken:
            continue
        is_default = name == (local.chat if kind is Kind.CHAT else local.embed) and kind.value not in with_default
        aliases = (CHAT_ALIASES if kind is Kind.CHAT else EMBED_ALIASES) if is_default else ()
        endpoint = Endpoint(f"local-{name}", _address(supervisor.model(name)), budget=_budget(settings.limits))
        yield (
            endpoint,
            ModelEntry(
                name,
                kind.value,
                endpoint.name,
                name,
                tuple(alias for alias in aliases if alias not in taken),
                known.dimensions if (known := find(name)) else None,
                is_default,
            ),
        )


def _address(model: LocalModel) -> Callable[[], Awaitable[Address]]:
    async def where() -> Address:
        found = await model.address()
        return Address(found.base_url, found.api_key)

    return where
