"""The gRPC server: its settings, what it serves, where it listens, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf.internal import api_implementation
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from stepwire.v1 import (
    chat_pb2_grpc,
    conversation_pb2_grpc,
    embed_pb2_grpc,
    pipeline_pb2_grpc,
    step_run_pb2_grpc,
)
from stepwired import addresses
from stepwired.addresses import CannotListen
from stepwired.events import Chat, CountTokens, Embed, Metrics
from stepwired.limits import MIB, Limits
from stepwired.rpc import reflect
from stepwired.rpc.calls import Calls
from stepwired.rpc.chat import ChatServicer
from stepwired.rpc.connect.app import Connect
from stepwired.rpc.conversations import ConversationServicer
from stepwired.rpc.embed import EmbedServicer
from stepwired.rpc.gate import Authorize, Collector, Gate, anybody
from stepwired.rpc.models import Models
from stepwired.rpc.pictures import Pictures
from stepwired.rpc.pipelines import PipelineServicer
from stepwired.rpc.step_runs import Runner, StepRunServicer
from stepwired.rpc.tokens import Counter
from stepwired.steps.pipelines import Pipelines
from stepwired.steps.workers import Workers
from stepwired.store.base import ConversationStore

#: The variable that chooses the port.
PORT = "STEPWIRE_GRPC_PORT"

_HEALTH = "grpc.health.v1.Health"

#: Calls that only their callers end, and which these begin again where they were: draining does not wait for them.
_ENDLESS = frozenset({"WatchConversation"})

#: Calls whose callers serve the calls of others: draining ends them when those have ended.
_SERVING = frozenset({"ServeSteps"})


@dataclass(frozen=True, slots=True)
class Parts:
    """What the server serves with."""

    chat: Chat
    embed: Embed
    models: Models
    store: ConversationStore
    steps: Runner
    pictures: Pictures
    pipelines: Pipelines
    count_tokens: CountTokens
    workers: Workers


class Server:
    """One gRPC server.

    Args:
        parts: What does the work.
        limits: What calls may use.
        metrics: Is told of each call that ended.
        authorize: Who may call what.

    Raises:
        CannotListen: Protobuf would run in pure Python, a hundred times slower and without its limits.
    """

    def __init__(self, parts: Parts, limits: Limits, metrics: Metrics, authorize: Authorize = anybody) -> None:
        if (kind := api_implementation.Type()) != "upb":
            message = f"protobuf runs as {kind!r}; unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION to get 'upb'"
            raise CannotListen(message)
        calls = Calls(limits, metrics)
        self.places = calls.places
        """For other fronts, which are to serve and end as this one does."""
        self.is_draining = False
        self._health = health.aio.HealthServicer()
        self._limits = limits
        self._gate = Gate(calls, authorize)
        self._services = self._register(self._gate, parts, limits)
        self._server: grpc.aio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen on `host` and take calls.

        Args:
            host: A loopback address or name.
            port: 0 for any that is free.

        Returns:
            The port.

        Raises:
            CannotListen: The address is not of this machine's loopback, or taken.
        """
        addresses.check_free(host, port, PORT)
        # Not made before, because gRPC never gives back what a server holds that was not started.
        server = grpc.aio.server(handlers=[self._gate], options=options(self._limits))
        try:
            bound = server.add_insecure_port(addresses.joined(host, port))
        except RuntimeError:  # somebody else was quicker
            raise addresses.taken(host, port, PORT) from None
        await server.start()
        self._server = server
        for name in self._services:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return bound

    def connect(self) -> Connect:
        """The ASGI application that serves the same over Connect and gRPC-Web, calls of both counted together."""
        return Connect(self._gate, self._services, self._limits, self.places)

    async def drain(self, grace_s: float, *, delay_s: float = 0.0) -> None:
        """Stop: health turns NOT_SERVING, new calls are refused, running ones get `grace_s`, then all are ended.

        Between the first two, `delay_s` pass in which new calls are still served, for balancers that learn of it late.
        Returns when every call has cleaned up after itself and been told how it ended.
        """
        self.is_draining = True
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(delay_s)
        await self.places.drain(grace_s)
        if self._server is not None:
            await self._server.stop(None)
        await self.places.join()

    def _register(self, gate: Gate, parts: Parts, limits: Limits) -> Sequence[str]:
        """Put every service behind the gate; their names."""
        ours, tools = Collector(), Collector()
        into: Any = ours  # generated code wants a server, and uses only what a Collector has
        counter = Counter(parts.count_tokens, parts.store, limits)
        chat = ChatServicer(parts.chat, parts.models, limits, counter)
        chat_pb2_grpc.add_ChatServiceServicer_to_server(chat, into)
        embed_pb2_grpc.add_EmbedServiceServicer_to_server(EmbedServicer(parts.embed, parts.models, limits), into)
        conversations = ConversationServicer(parts.store, parts.pictures, limits)
        conversation_pb2_grpc.add_ConversationServiceServicer_to_server(conversations, into)
        step_run_pb2_grpc.add_StepRunServiceServicer_to_server(
            StepRunServicer(parts.steps, parts.workers, limits), into
        )
        pipelines = PipelineServicer(parts.store, parts.pipelines, parts.steps, limits)
        pipeline_pb2_grpc.add_PipelineServiceServicer_to_server(pipelines, into)
        for name, handlers in ours.services.items():
            gate.serve(name, handlers, endless=_ENDLESS, serving=_SERVING)
        into = tools
        health_pb2_grpc.add_HealthServicer_to_server(self._health, into)
        gate.serve(_HEALTH, tools.services[_HEALTH], counted=False, is_open=True)
        for name, handlers in reflect.handlers((*ours.services, _HEALTH)).items():
            gate.serve(name, handlers, counted=False)
        return tuple(ours.services)


def options(limits: Limits) -> Sequence[tuple[str, int]]:
    """The settings of gRPC that the service relies on."""
    return (
        # Otherwise a second server binds the same port without a word and takes half of the calls.
        ("grpc.so_reuseport", 0),
        # Of one connection. Above it a client's calls wait without a word: `max_calls` has to refuse first, and what it
        # refuses counts until it is gone. Measured: with less room gRPC resets some of a burst of 2,000.
        ("grpc.max_concurrent_streams", max(1000, 2 * limits.max_calls)),
        # Its probes widen each stream's window to 4 MiB, which a caller may fill.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.max_allowed_incoming_connections", 1000),
        # Above its default of 1,000 gRPC answers bursts with CANCELLED; we refuse with a reason instead.
        ("grpc.server.max_pending_requests", 100_000),
        ("grpc.server.max_pending_requests_hard_limit", 200_000),
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.max_metadata_size", 8192),
        ("grpc.absolute_max_metadata_size", 16_384),
        # All three: gRPC ignores keepalive_timeout_ms, and finds a dead peer by the ping's own timeout.
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.ping_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # Clients may ping every 10 s; by default they would be disconnected for it.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 3),
        ("grpc.max_receive_message_length", limits.request_bytes),
        # A little more than we send: our own limit names its reason.
        ("grpc.max_send_message_length", max(limits.reply_bytes, 4 * MIB)),
    )
