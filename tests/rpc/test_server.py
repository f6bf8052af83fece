from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from stepwire.v1 import chat_pb2, conversation_pb2, embed_pb2, pipeline_pb2, step_run_pb2
from stepwired.addresses import CannotListen
from stepwired.events import Batch, ChatRequest, TextDelta
from stepwired.limits import MIB, Limits
from stepwired.rpc.chat import ChatServicer
from stepwired.rpc.conversations import ConversationServicer
from stepwired.rpc.embed import EmbedServicer
from stepwired.rpc.pictures import Pictures
from stepwired.rpc.server import Parts, Server, options
from stepwired.rpc.step_runs import StepRunServicer
from tests.rpc.serving import (
    Catalogue,
    Recorder,
    count,
    echo,
    read,
    serve,
    until,
    within,
)

HI = chat_pb2.StreamChatRequest(prompt="hi")


NOTHING: Any = None


SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def server(limits: Limits | None = None) -> Server:
    pictures = Pictures(NOTHING, NOTHING, limits or Limits())
    return Server(
        Parts(echo, count, Catalogue(), NOTHING, NOTHING, pictures, NOTHING, NOTHING, NOTHING),
        limits or Limits(),
        Recorder(),
    )


def test_the_options_are_those_that_were_measured() -> None:
    set_to = dict(options(Limits()))
    assert set_to["grpc.so_reuseport"] == 0
    assert set_to["grpc.http2.bdp_probe"] == 0
    assert set_to["grpc.server.max_pending_requests"] == 100_000
    assert set_to["grpc.http2.ping_timeout_ms"] == 10_000
    assert set_to["grpc.http2.min_ping_interval_without_data_ms"] == 10_000
    assert set_to["grpc.max_receive_message_length"] == 16 * MIB
    assert set_to["grpc.max_concurrent_streams"] > Limits().max_calls


async def test_a_second_server_on_the_port_is_refused_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    async with serve() as client:
        second = server()
        with pytest.raises(CannotListen) as caught:
            await second.start("127.0.0.1", client.port)
        assert str(client.port) in str(caught.value)
        assert "STEPWIRE_GRPC_PORT" in str(caught.value)
        assert "\n" not in str(caught.value)
        await second.drain(0)
        assert (await client.chat.Chat(chat_pb2.ChatRequest(prompt="mine"))).text == "mine"
    assert "Failed to" not in capfd.readouterr().err


async def test_a_port_that_any_other_program_holds_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = server()
        with pytest.raises(CannotListen):
            await refused.start("127.0.0.1", taken.getsockname()[1])
        await refused.drain(0)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
async def test_an_address_that_others_could_reach_is_refused(host: str) -> None:
    refused = server()
    with pytest.raises(CannotListen, match="loopback"):
        await refused.start(host, 0)
    await refused.drain(0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
async def test_every_spelling_of_loopback_is_served(host: str) -> None:
    mine = server()
    port = await mine.start(host, 0)
    try:
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        async with grpc.aio.insecure_channel(address) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            assert (await within(health.Check(health_pb2.HealthCheckRequest()))).status == SERVING
    finally:
        await mine.drain(0)


async def test_health_knows_every_service() -> None:
    async with serve() as client:
        health: Any = health_pb2_grpc.HealthStub(client.channel)
        for service in ("", "ChatService", "EmbedService", "ConversationService", "StepRunService", "PipelineService"):
            name = f"stepwire.v1.{service}" if service else ""
            assert (await health.Check(health_pb2.HealthCheckRequest(service=name))).status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_tells_what_is_served(version: str) -> None:
    async with serve() as client:
        call = client.channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        listed = (await read(call)).list_services_response.service
        assert {
            "stepwire.v1.ChatService",
            "stepwire.v1.EmbedService",
            "stepwire.v1.ConversationService",
            "stepwire.v1.StepRunService",
            "stepwire.v1.PipelineService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        } == {service.name for service in listed}
        for service in listed:  # grpcurl asks for each of them
            await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=service.name))
            assert (await read(call)).file_descriptor_response.file_descriptor_proto, service.name
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK


async def typed(grpcurl: str, *arguments: str) -> str:
    program = await asyncio.create_subprocess_exec(
        grpcurl, "-plaintext", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await within(program.communicate())
    return said.decode()


async def test_grpcurl_finds_and_describes_everything(grpcurl: str) -> None:
    async with serve() as client:
        address = f"127.0.0.1:{client.port}"
        listed = (await typed(grpcurl, address, "list")).split()
        described = await typed(grpcurl, address, "describe")
        method = await typed(grpcurl, address, "describe", "stepwire.v1.ChatService.StreamChat")
        unknown = await typed(grpcurl, address, "describe", "stepwire.v1.ChatService.Nope")
    assert "stepwire.v1.ChatService" in listed
    for service in listed:
        assert f"{service} is a service" in described
    assert "rpc StreamChat" in described
    assert "stepwire.v1.ChatService.StreamChat is a method" in method
    assert "Symbol not found" in unknown


async def test_grpcurl_streams_a_reply_and_shows_what_is_wrong(grpcurl: str) -> None:
    async with serve() as client:
        address = f"127.0.0.1:{client.port}"
        reply = await typed(grpcurl, "-d", '{"prompt":"hello"}', address, "stepwire.v1.ChatService/StreamChat")
        error = await typed(grpcurl, "-d", "{}", address, "stepwire.v1.ChatService/StreamChat")
    assert '"text": "hello"' in reply
    assert '"finished"' in reply
    assert '"reason": "INVALID_CONVERSATION"' in error
    assert "Code: InvalidArgument" in error


def test_every_declared_method_is_served() -> None:
    declared = {
        f"/{service.full_name}/{method.name}"
        for file in (chat_pb2, embed_pb2, conversation_pb2, step_run_pb2, pipeline_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    handlers = server()._gate._handlers
    assert {method for method in handlers if method.startswith("/stepwire.")} == declared
    for servicer in (ChatServicer, EmbedServicer, ConversationServicer, StepRunServicer):
        base = next(kind for kind in servicer.__mro__ if kind.__module__.endswith("_pb2_grpc"))
        left = [name for name in vars(base) if name[0].isupper() and getattr(servicer, name) is vars(base)[name]]
        assert not left, f"{servicer.__name__} answers {left} with UNIMPLEMENTED"


async def test_a_reader_that_does_not_read_holds_up_the_model() -> None:
    made = 0

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        nonlocal made
        while True:
            made += 60_000
            yield [TextDelta("x" * 60_000)]

    # Without its probes a client's window is 64 KiB; with them it takes up to 4 MiB unread.
    async with serve(chat, limits=Limits(stalled_reader_s=0.2), options=[("grpc.http2.bdp_probe", 0)]) as client:
        call = client.chat.StreamChat(HI)
        await read(call)
        await until(lambda: client.metrics.calls or not client.server.places._live)
        assert made < MIB
        call.cancel()
