"""A real server on a port of its own, over scripted functions, and what its errors say."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import Message as Proto
from google.rpc import error_details_pb2, status_pb2

from stepwire.v1 import chat_pb2_grpc, conversation_pb2_grpc, embed_pb2_grpc, pipeline_pb2_grpc, step_run_pb2_grpc
from stepwired.errors import NotFound, Reason, Subject
from stepwired.events import (
    Batch,
    Chat,
    ChatRequest,
    CountTokens,
    Embed,
    Embeddings,
    EmbedRequest,
    Finished,
    FinishReason,
    Message,
    ModelInfo,
    Role,
    Started,
    TextDelta,
    TokenCount,
    Usage,
    UsageSource,
)
from stepwired.imaging.files import Files
from stepwired.imaging.intake import Images
from stepwired.imaging.pool import Decoders
from stepwired.limits import Limits
from stepwired.rpc.call import Call
from stepwired.rpc.gate import Authorize, anybody
from stepwired.rpc.pictures import Pictures
from stepwired.rpc.server import Parts, Server
from stepwired.rpc.step_runs import Runner
from stepwired.steps.pipelines import Pipelines
from stepwired.steps.workers import Workers
from stepwired.store.base import ConversationStore

T = TypeVar("T")

#: Long enough for any machine, short enough to notice a hang.
SOON_S = 10.0

STARTED = Started("echo-1", "scripted")


def finished(text: str) -> Finished:
    message = Message(role=Role.ASSISTANT, text=text)
    usage = Usage(UsageSource.PROVIDER, input_tokens=3, output_tokens=0)
    return Finished(FinishReason.STOP, "echo-1", "scripted", usage, (message,))


async def echo(request: ChatRequest) -> AsyncGenerator[Batch, None]:
    """Says the last message back, word by word."""
    text = request.messages[-1].text if request.messages else "…"
    yield [STARTED]
    for word in text.split():
        yield [TextDelta(word)]
    yield [finished("".join(text.split()))]


async def count(request: EmbedRequest) -> Embeddings:
    """Vectors of two numbers: the length of the text, and 1."""
    rows = tuple(struct.pack("<2f", len(text), 1.0) for text in request.texts)
    return Embeddings("count-1", 2, rows, Usage(UsageSource.PROVIDER, input_tokens=len(rows)))


async def count_words(request: ChatRequest) -> TokenCount:
    """As many tokens as there are words."""
    words = sum(len(message.text.split()) for message in request.messages)
    return TokenCount(words, UsageSource.ESTIMATED, "echo-1", 100)


class Silent:
    """A model that begins, if told to, and then says nothing until it is stopped."""

    def __init__(self, *, begins: bool = False) -> None:
        self.asked, self.stopped = asyncio.Event(), asyncio.Event()
        self.running = 0
        self._begins = begins

    async def chat(self, _: ChatRequest) -> AsyncGenerator[Batch, None]:
        self.running += 1
        try:
            self.asked.set()
            if self._begins:
                yield [STARTED, TextDelta("…")]
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # cleaning up takes a turn of the loop, as closing a socket does
            self.running -= 1
            if not self.running:
                self.stopped.set()


@dataclass
class Catalogue:
    chats: Sequence[ModelInfo] = (ModelInfo("echo", ("gpt-4",), "scripted", "echo-1", is_default=True),)
    embeds: Sequence[ModelInfo] = (ModelInfo("count", (), "scripted", "count-1", is_default=True, dimensions=2),)

    def chat_models(self) -> Sequence[ModelInfo]:
        return self.chats

    def embed_models(self) -> Sequence[ModelInfo]:
        return self.embeds

    def info(self, name: str, kind: Literal["chat", "embed"]) -> ModelInfo:
        for info in self.chats if kind == "chat" else self.embeds:
            if name in {info.name, *info.aliases} or (not name and info.is_default):
                return info
        subject = Subject("model", name)
        raise NotFound(Reason.MODEL_NOT_FOUND, f"no model {name}", metadata={"model": name}, subject=subject)


@dataclass
class Recorder:
    """Remembers what the server counted."""

    calls: list[tuple[str, str, str]] = field(default_factory=list)

    def call_ended(self, method: str, code: str, reason: str, duration_s: float) -> None:
        assert duration_s >= 0
        self.calls.append((method, code, reason))


@dataclass
class Client:
    """Stubs for a server, and the server."""

    server: Server
    port: int
    channel: grpc.aio.Channel
    metrics: Recorder

    @property
    def chat(self) -> chat_pb2_grpc.ChatServiceAsyncStub:
        return chat_pb2_grpc.ChatServiceStub(self.channel)

    @property
    def embed(self) -> embed_pb2_grpc.EmbedServiceAsyncStub:
        return embed_pb2_grpc.EmbedServiceStub(self.channel)

    @property
    def conversations(self) -> conversation_pb2_grpc.ConversationServiceAsyncStub:
        return conversation_pb2_grpc.ConversationServiceStub(self.channel)

    @property
    def pipelines(self) -> pipeline_pb2_grpc.PipelineServiceAsyncStub:
        return pipeline_pb2_grpc.PipelineServiceStub(self.channel)

    @property
    def steps(self) -> step_run_pb2_grpc.StepRunServiceAsyncStub:
        return step_run_pb2_grpc.StepRunServiceStub(self.channel)


_NOTHING: Any = None


@asynccontextmanager
async def serve(
    chat: Chat = echo,
    embed: Embed = count,
    *,
    models: Catalogue | None = None,
    store: ConversationStore = _NOTHING,
    steps: Runner = _NOTHING,
    limits: Limits | None = None,
    authorize: Authorize = anybody,
    options: Sequence[tuple[str, Any]] = (),
    roots: Sequence[Path] = (),
    pipelines: Pipelines | None = None,
    count_tokens: CountTokens = count_words,
    workers: Workers = _NOTHING,
) -> AsyncIterator[Client]:
    metrics = Recorder()
    limits = limits or Limits()
    images = Images(Decoders(limits), Files(roots, limits), None, limits)
    pictures = Pictures(images, store, limits)
    pipelines = Pipelines(limits) if pipelines is None else pipelines
    models = models or Catalogue()
    parts = Parts(pictures.taking(chat), embed, models, store, steps, pictures, pipelines, count_tokens, workers)
    server = Server(parts, limits, metrics, authorize)
    port = await server.start("127.0.0.1", 0)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            yield Client(server, port, channel, metrics)
    finally:
        await server.drain(0)
        await images.close()


def live_calls(server: Server) -> list[Call]:
    """The calls that gRPC is serving just now."""
    return [member for member in server.places._live if isinstance(member, Call)]


async def until(holds: Callable[[], object]) -> None:
    """Let the loop turn until something holds that no event tells."""
    async with asyncio.timeout(SOON_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def within(what: Awaitable[T]) -> T:
    """Wait, but not for ever."""
    return await asyncio.wait_for(what, SOON_S)


async def read(call: Any) -> Any:
    """The next message of a stream."""
    return await within(call.read())


@dataclass
class Told:
    """What an error says, as a client can read it."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    request_id: str = ""
    retry_after_s: float | None = None
    fields: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of each field violation."""

    kinds: list[str] = field(default_factory=list)
    """Names of all details."""

    trailers: dict[str, str | bytes] = field(default_factory=dict)


def told(error: grpc.aio.AioRpcError) -> Told:
    trailers = dict(error.trailing_metadata() or ())
    it = Told(error.code(), error.details() or "", trailers=cast("dict[str, str | bytes]", trailers))
    raw = trailers.get("grpc-status-details-bin")
    if not isinstance(raw, bytes):
        return it
    status = status_pb2.Status.FromString(raw)
    assert status.code == it.code.value[0]
    for detail in status.details:
        name = detail.type_url.rpartition(".")[2]
        it.kinds.append(name)
        read: Any = cast("type[Proto]", getattr(error_details_pb2, name)).FromString(detail.value)
        match name:
            case "ErrorInfo":
                assert read.domain == "stepwire.dev"
                it.reason, it.facts = read.reason, dict(read.metadata)
            case "RequestInfo":
                it.request_id = read.request_id
            case "RetryInfo":
                it.retry_after_s = read.retry_delay.ToNanoseconds() / 1e9
            case "BadRequest":
                it.fields = [(violation.field, violation.reason) for violation in read.field_violations]
    return it
