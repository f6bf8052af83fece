"""The one page of wiring: which parts there are, and who is given what."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from stepwired import addresses, config
from stepwired.events import Chat, ChatRequest, CountTokens, Json, TokenCount, ToolSteps
from stepwired.imaging.files import Files
from stepwired.imaging.intake import Images
from stepwired.imaging.pool import Decoders
from stepwired.limits import Limits
from stepwired.local.supervisor import Supervisor
from stepwired.models import catalogue_of
from stepwired.observe.metrics import NoMetrics
from stepwired.providers.catalogue.catalogue import Catalogue
from stepwired.providers.counting.counting import Counting
from stepwired.providers.net.http import Http
from stepwired.rpc.convert.chat import chat_request_of_json
from stepwired.rpc.convert.runs import as_json
from stepwired.rpc.pictures import Pictures
from stepwired.rpc.pipelines import load
from stepwired.rpc.server import Parts, Server
from stepwired.rpc.status import code_number
from stepwired.sandbox.pool import Sandbox
from stepwired.steps.leaves import Models
from stepwired.steps.named import discover
from stepwired.steps.pipelines import Pipelines
from stepwired.steps.registry import Registry
from stepwired.steps.tools import Tools
from stepwired.steps.workers import Workers
from stepwired.store.keeper import DiskKeeper
from stepwired.store.repeating import repeatable
from stepwired.store.replies import recorded
from stepwired.store.sqlite import SqliteStore
from stepwired.turns.formats import with_format
from stepwired.turns.offer import offered, offering
from stepwired.turns.tools import with_tools
from stepwired.web import server as web_server

VERSION = version("stepwired")

#: Where the paths of the services begin, for those who call them over HTTP.
CONNECT = "/stepwire.v1."


@dataclass(frozen=True, slots=True)
class Running:
    """The service, while it serves."""

    server: Server
    address: str
    """Such as `127.0.0.1:50051`."""

    web_address: str
    """Such as `127.0.0.1:8080`; empty where nothing is served over HTTP."""


@asynccontextmanager
async def service(settings: config.Settings, environ: Mapping[str, str] = os.environ) -> AsyncGenerator[Running]:
    """Build the whole service and serve; leaving ends what was begun, last begun first.

    Raises:
        ConfigError: The models do not fit together, or a key file cannot be read.
        Failure: The store cannot be opened, or the processes for functions cannot be started.
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
        functions = await functions_of(settings)
        if functions is not None:
            parts.push_async_callback(functions.close)
        keeper = keeper_of(settings)
        if keeper is not None:
            parts.push_async_callback(keeper.close)
        catalogue = catalogue_of(settings, supervisor, http, environ, store, keeper)
        pictures = Pictures(images, store, settings.limits)
        counting = Counting(catalogue.place)
        is_tool = settings.tools.allow.__contains__
        tools = Tools(lambda: steps, is_tool, as_json)
        chat = chat_of(catalogue, counting.guarded(catalogue.chat), pictures, store, tools, settings.limits)
        pipelines = Pipelines(settings.limits, is_tool)
        await load(store, pipelines, settings.limits)
        counts = counting_with(counting.count, tools)
        models = Models(chat, catalogue.embed, read_request(settings.limits), as_json, code_number)
        workers = workers_of(settings, named, pipelines, is_tool)
        others = (pipelines, workers)
        steps = Registry(models, named, settings.limits, functions=functions, others=others, is_tool=is_tool)
        server = Server(
            Parts(chat, catalogue.embed, catalogue, store, steps, pictures, pipelines, counts, workers),
            settings.limits,
            NoMetrics(),
        )
        fronts = web_server.Parts(chat, catalogue.embed, catalogue, server, {CONNECT: server.connect()})
        async with serving(settings, server, fronts) as running:
            yield running


@asynccontextmanager
async def serving(settings: config.Settings, server: Server, fronts: web_server.Parts) -> AsyncGenerator[Running]:
    """Listen; leaving ends the calls that are left.

    Raises:
        CannotListen: A port cannot be had.
    """
    host, web_address = settings.server.host, ""
    async with AsyncExitStack() as parts:
        parts.push_async_callback(server.drain, 0.0)  # does nothing to a server that was drained
        port = await server.start(host, settings.server.grpc_port)
        if settings.web.enabled:
            web = web_of(settings, fronts)
            web_address = addresses.joined(host, await web.start(host, settings.web.http_port))
            parts.push_async_callback(web.close)
            parts.push_async_callback(server.drain, 0.0)  # of calls over HTTP, too, before their connections are cut
        yield Running(server, addresses.joined(host, port), web_address)


def web_of(settings: config.Settings, parts: web_server.Parts) -> web_server.WebServer:
    """The HTTP front, with what the operator decided about it."""
    decided = web_server.Settings(settings.web.allow_origins, settings.web.allowed_hosts, page=settings.web.page)
    return web_server.WebServer(parts, decided, settings.limits, NoMetrics())


def chat_of(
    catalogue: Catalogue, chat: Chat, pictures: Pictures, store: SqliteStore, tools: ToolSteps, limits: Limits
) -> Chat:
    """All that lies between a request and `chat`, from its repeats down to its turns."""
    turns = with_tools(with_format(chat), tools, limits)
    told = catalogue.checked(pictures.taking(recorded(turns, store, limits)))
    return repeatable(offering(told, tools), store)


def read_request(limits: Limits) -> Callable[[Json], ChatRequest]:
    """How a chat step reads what it is given."""
    return partial(chat_request_of_json, limits=limits)


def counting_with(count: CountTokens, tools: ToolSteps) -> CountTokens:
    """`count`, of requests whose tools say what their steps say of themselves."""

    async def counted(request: ChatRequest) -> TokenCount:
        return await count(await offered(request, tools))

    return counted


def workers_of(
    settings: config.Settings, named: Mapping[str, object], pipelines: Pipelines, is_tool: Callable[[str], bool]
) -> Workers:
    """Those who serve steps, under names that nobody has taken."""

    def is_taken(name: str) -> bool:
        return name in named or pipelines.has(name)

    return Workers(settings.limits, is_taken, is_tool)


async def functions_of(settings: config.Settings) -> Sandbox | None:
    """What runs the JavaScript of callers, its processes started; None if it is not to be run.

    Raises:
        Broken: INTERNAL: a process cannot be started.
    """
    if not settings.functions.enabled:
        return None
    return await Sandbox.open(settings.limits, processes_count=settings.functions.processes)


def keeper_of(settings: config.Settings) -> DiskKeeper | None:
    """Where vectors are kept on disk; None if they are not. Opens nothing yet."""
    if settings.cache.embeddings not in {"disk", "file"}:
        return None
    return DiskKeeper(settings.server.data_dir, settings.cache.embeddings_bytes)


def images_of(settings: config.Settings) -> Images:
    """All ways for a picture to come in. Starts nothing.

    Raises:
        ConfigError: A host that may be fetched from cannot be one.
    """
    fetch = None
    if settings.images.fetch == "public":
        from stepwired.providers.net.fetch import ImageFetcher

        try:
            fetch = ImageFetcher(settings.limits, allow_hosts=settings.images.allow_hosts).fetch
        except ValueError as error:
            raise config.ConfigError([f"images.allow_hosts: {error}"]) from error
    return Images(Decoders(settings.limits), Files(settings.images.roots, settings.limits), fetch, settings.limits)
