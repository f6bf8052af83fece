"""Says what the settings come to, without starting anything."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from stepwired import addresses, config
from stepwired.events import ModelInfo, Price
from stepwired.local.catalogue import Kind
from stepwired.local.models import installed
from stepwired.local.supervisor import Supervisor
from stepwired.models import catalogue_of
from stepwired.providers.catalogue.catalogue import Catalogue
from stepwired.providers.catalogue.known import AS_OF
from stepwired.providers.net.http import Http
from stepwired.steps.named import discover


async def explain(settings: config.Settings, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Say what the settings come to, a line each. Nothing is started, and nobody is asked.

    Raises:
        ConfigError: The models do not fit together, or a key file cannot be read.
        BrokenStepError: A registered step does not load.
    """
    http = Http()
    try:
        catalogue = catalogue_of(settings, Supervisor(settings.server.data_dir), http, environ)
    finally:
        await http.aclose()
    return [*_explained_settings(settings, environ), *_explained_models(settings, catalogue), *_explained_steps()]


def _explained_settings(settings: config.Settings, environ: Mapping[str, str]) -> Iterator[str]:
    server = settings.server
    yield f"settings   {settings.source or 'none: all defaults'}"
    yield f"listens on {addresses.joined(server.host, server.grpc_port)}, for gRPC"
    yield from _explained_web(settings)
    yield f"keeps      conversations and models in {server.data_dir} (durability {server.durability})"
    there = {model.name for model in installed(server.data_dir)}
    for kind, default in ((Kind.CHAT, settings.local.chat), (Kind.EMBED, settings.local.embed)):
        if settings.local.enabled and default not in there:
            yield f"missing    the local model for {kind.value}: run `stepwired models pull {default}`"
    if settings.images.fetch != "off":
        hosts = ", ".join(settings.images.allow_hosts) or "any public server"
        yield f"fetches    images that requests name, from {hosts}"
    for root in settings.images.roots:
        yield f"reads      images that requests name, below {root}"
    functions = settings.functions
    processes = "1 process" if functions.processes == 1 else f"{functions.processes} processes"
    yield f"functions  in JavaScript are {f'run by {processes}' if functions.enabled else 'not run'}"
    if settings.tools.allow:
        yield f"tools      that models may have run here: {', '.join(settings.tools.allow)}"
    for name, endpoint in settings.endpoints.items():
        key = "no key"
        if endpoint.keys == "caller":
            key = "the key that each call brings"
        elif endpoint.api_key_env:
            state = "is set" if environ.get(endpoint.api_key_env) else "is NOT set: its models will be refused"
            key = f"key from {endpoint.api_key_env}, which {state}"
        elif endpoint.api_key_file:
            key = f"key from {endpoint.api_key_file}"
        yield f"endpoint   {name}: {endpoint.wire} at {endpoint.base_url}, {key}"
    cache = settings.cache
    if cache.chat != "off":
        yield f"caches     replies that callers allow it for: {cache.chat_bytes} bytes, {cache.chat_ttl_s:g} s each"
    if cache.embeddings != "off":
        where = "memory" if cache.embeddings == "memory" else f"{server.data_dir}"
        yield f"caches     vectors: {cache.embeddings_bytes} bytes in {where}"


def _explained_web(settings: config.Settings) -> Iterator[str]:
    web = settings.web
    if not web.enabled:
        yield "web        is off: nothing is served over HTTP"
        return
    with_page = ", and the page at /" if web.page else ""
    yield f"listens on {addresses.joined(settings.server.host, web.http_port)}, for OpenAI's clients{with_page}"
    if web.allow_origins:
        yield f"web        may be called by the pages of {', '.join(web.allow_origins)}"
    if web.allowed_hosts:
        yield f"web        may be called by the names {', '.join(web.allowed_hosts)}"


def _explained_models(settings: config.Settings, catalogue: Catalogue) -> Iterator[str]:
    for info in (*catalogue.chat_models(), *catalogue.embed_models()):
        kind_name = "chat" if info.dimensions is None else f"embed, {info.dimensions} dimensions"
        default_mark = ", the default" if info.is_default else ""
        aliases = f"; also {', '.join(info.aliases)}" if info.aliases else ""
        yield f"model      {info.name}: {kind_name}, {info.provider_model} at {info.endpoint}{default_mark}{aliases}"
        if facts := "; ".join(_facts(settings, info)):
            yield f"           {facts}"


def _facts(settings: config.Settings, info: ModelInfo) -> Iterator[str]:
    """What is known of a model, and whence."""
    if info.fallbacks:
        yield f"else {', '.join(info.fallbacks)}"
    if info.context_length:
        yield f"reads and writes {info.context_length} tokens"
    if info.max_output_tokens:
        yield f"writes at most {info.max_output_tokens}"
    if info.abilities:
        yield f"can do {', '.join(info.abilities)}"
    if info.price is not None:
        given = settings.models.get(info.name)
        yield _price(info.price, "" if given and given.price else f", as of {AS_OF}")


def _price(price: Price, as_of: str) -> str:
    parts = (("read", price.input), ("written", price.output), ("read from its cache", price.cached_input))
    each = ", ".join(f"${dollars:g} {what}" for what, dollars in parts if dollars is not None)
    return f"a million tokens cost {each}{as_of}"


def _explained_steps() -> Iterator[str]:
    for name, versions in discover().items():
        yield f"step       {name}: {', '.join(versions)}, by {next(iter(versions.values())).provider}"
