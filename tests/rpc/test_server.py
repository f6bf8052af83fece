from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from stepwire.v1 import chat_pb2, conversation_pb2, embed_pb2, step_run_pb2
from stepwired.errors import Failure, Reason
from stepwired.events import Batch, ChatRequest, TextDelta
from stepwired.limits import MIB, Limits
from stepwired.rpc.chat import ChatServicer
from stepwired.rpc.conversations import ConversationServicer
from stepwired.rpc.embed import EmbedServicer
from stepwired.rpc.gate import anybody
from stepwired.rpc.server import CannotListen, Parts, Server, options
from stepwired.rpc.step_runs import StepRunServicer
from tests.rpc.serving import (
    STARTED,
    Catalogue,
    Client,
    Recorder,
    count,
    echo,
    finished,
    read,
    serve,
    told,
    until,
    within,
)

HI = chat_pb2.StreamChatRequest(prompt="hi")
NOTHING: Any = None
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def raw_call(client: Client, method: str, raw: bytes) -> Any:
    make: Any = client.channel.unary_stream(f"/stepwire.v1.{method}")
    return make(raw)


def server(limits: Limits | None = None) -> Server:
    return Server(Parts(echo, count, Catalogue(), NOTHING, NOTHING), limits or Limits(), Recorder())


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
        for service in ("", "ChatService", "EmbedService", "ConversationService", "StepRunService"):
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
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        } == {service.name for service in listed}
        for service in listed:  # grpcurl asks for each of them
            await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=service.name))
            assert (await read(call)).file_descriptor_response.file_descriptor_proto, service.name
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK


NOT_UTF8 = b"\x12\x02\xc3\x28"
CUT_OFF = b"\x0a\x7fshort"


def nested(depth: int) -> bytes:
    """A spec of so many steps within each other, which no client's own protobuf would write."""
    raw = b""
    for _ in range(depth):
        for tag in (b"\x0a", b"\x1a"):  # MapStep.step, Step.map
            size, length = len(raw), b""
            while size > 0x7F:
                length += bytes([size & 0x7F | 0x80])
                size >>= 7
            raw = tag + length + bytes([size]) + raw
    return b"\x0a" + raw[1:]


@pytest.mark.parametrize(
    ("method", "raw"),
    [
        ("ChatService/StreamChat", b"\xff\xff\xff"),
        ("ChatService/StreamChat", NOT_UTF8),
        ("ChatService/Chat", CUT_OFF),
        ("EmbedService/Embed", NOT_UTF8),
        ("EmbedService/StreamEmbeddings", CUT_OFF),
        ("ConversationService/GetConversation", CUT_OFF),
        ("StepRunService/ValidateStep", nested(200)),
        ("StepRunService/RunStep", nested(200)),
    ],
)
async def test_malformed_bytes_are_answered_with_a_reason_and_no_library_text(method: str, raw: bytes) -> None:
    async with serve() as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(raw_call(client, method, raw))
    error = told(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")
    assert error.request_id
    assert client.metrics.calls == [(f"/stepwire.v1.{method}", "INVALID_ARGUMENT", "MALFORMED_REQUEST")]


async def test_malformed_bytes_in_a_request_stream_are_answered_with_a_reason() -> None:
    async with serve() as client:
        call: Any = client.channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")()
        await call.write(b"\xff\xff\xff")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(call)
    assert told(caught.value).reason == "MALFORMED_REQUEST"


async def test_an_unknown_method_is_unimplemented() -> None:
    async with serve() as client:
        for method in ("/stepwire.v1.ChatService/Nothing", "/nobody.Knows/It"):
            unknown: Any = client.channel.unary_unary(method)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await within(unknown(b""))
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_request_above_the_limit_is_refused_by_grpc() -> None:
    async with serve(limits=Limits(request_bytes=MIB)) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await within(client.embed.Embed(embed_pb2.EmbedRequest(texts=["x" * MIB])))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


# --- who may call ---


def nobody(_method: str, _metadata: Sequence[tuple[str, str | bytes]], /) -> Failure | None:
    return Failure(Reason.PROVIDER_PERMISSION_DENIED, "not you")


async def test_whoever_is_not_authorized_is_refused_whatever_they_call() -> None:
    async with serve(authorize=nobody) as client:
        for method in ("ChatService/StreamChat", "ChatService/Chat", "EmbedService/Embed", "ChatService/Unknown"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await read(raw_call(client, method, b""))
            assert told(caught.value).reason == "PROVIDER_PERMISSION_DENIED"
        reflection: Any = client.channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(reflection)
        assert told(caught.value).reason == "PROVIDER_PERMISSION_DENIED"
        health: Any = health_pb2_grpc.HealthStub(client.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == SERVING


async def test_authorization_sees_the_method_and_the_metadata() -> None:
    seen: list[tuple[str, dict[str, str | bytes]]] = []

    def look(method: str, metadata: Sequence[tuple[str, str | bytes]], /) -> Failure | None:
        seen.append((method, dict(metadata)))
        return None

    async with serve(authorize=look) as client:
        await client.chat.Chat(chat_pb2.ChatRequest(prompt="hi"), metadata=(("authorization", "Bearer t"),))
    ((method, metadata),) = seen
    assert method == "/stepwire.v1.ChatService/Chat"
    assert metadata["authorization"] == "Bearer t"


SENDS_MUCH = """
import sys, grpc
from stepwire.v1 import embed_pb2, embed_pb2_grpc
request = embed_pb2.EmbedRequest(texts=["x" * (15 << 20)])
with grpc.insecure_channel(sys.argv[1]) as channel:
    for _ in range(8):
        try:
            embed_pb2_grpc.EmbedServiceStub(channel).Embed(request)
        except grpc.RpcError as failure:
            print(failure.code().name)
"""


@pytest.mark.parametrize(
    ("authorize", "code", "is_buffered"), [(nobody, "PERMISSION_DENIED", False), (anybody, "INVALID_ARGUMENT", True)]
)
async def test_a_refused_caller_makes_the_server_buffer_nothing(
    authorize: Any, code: str, *, is_buffered: bool
) -> None:
    async with serve(authorize=authorize) as client:
        reset_peak_rss()
        before = peak_rss_bytes()
        # A process of its own, so that what it holds is not ours.
        program = (sys.executable, "-c", SENDS_MUCH, f"127.0.0.1:{client.port}")
        caller = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
        told_it, _ = await within(caller.communicate())
        assert told_it.split() == [code.encode()] * 8
        assert (peak_rss_bytes() - before > 12 * MIB) is is_buffered


def reset_peak_rss() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("needs Linux's /proc")


def peak_rss_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


# --- the end ---


async def test_draining_with_five_hundred_streams_leaves_no_one_in_the_dark() -> None:
    go = asyncio.Event()
    entered = cleaned = 0

    async def chat(request: ChatRequest) -> AsyncGenerator[Batch, None]:
        nonlocal entered, cleaned
        entered += 1
        try:
            yield [STARTED]
            await (go if request.messages[-1].text == "short" else asyncio.Event()).wait()
            yield [finished("")]
        finally:
            await asyncio.sleep(0.01)  # closing takes its time
            cleaned += 1

    async with serve(chat) as client:
        calls = [
            client.chat.StreamChat(chat_pb2.StreamChatRequest(prompt="short" if index % 2 else "long"))
            for index in range(500)
        ]
        await asyncio.gather(*(read(call) for call in calls))
        assert entered == 500
        draining = asyncio.create_task(client.server.drain(0.5))
        go.set()
        outcomes = await asyncio.gather(*(outcome(call) for call in calls))
        await within(draining)
        assert cleaned == 500
    assert outcomes[1::2] == ["OK"] * 250
    assert outcomes[::2] == ["UNAVAILABLE SERVER_DRAINING 1.0"] * 250


async def outcome(call: Any) -> str:
    try:
        while await read(call) is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as failure:
        error = told(failure)
        return f"{error.code.name} {error.reason} {error.retry_after_s}"
    return "OK"


async def test_a_draining_server_refuses_new_calls_and_says_so_to_health_checks() -> None:
    waiting = asyncio.Event()

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [STARTED]
        await waiting.wait()
        yield [finished("")]

    async with serve(chat) as client:
        health: Any = health_pb2_grpc.HealthStub(client.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await read(watch)).status == SERVING
        running = client.chat.StreamChat(HI)
        await read(running)
        draining = asyncio.create_task(client.server.drain(SOON_ENOUGH_S))
        assert (await read(watch)).status == NOT_SERVING
        assert (await within(health.Check(health_pb2.HealthCheckRequest()))).status == NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await within(client.chat.StreamChat(HI).read())
        error = told(caught.value)
        assert (error.code, error.reason, error.retry_after_s) == (
            grpc.StatusCode.UNAVAILABLE,
            "SERVER_DRAINING",
            1.0,
        )
        waiting.set()
        assert (await read(running)).HasField("finished")
        assert await running.code() is grpc.StatusCode.OK
        await within(draining)  # long before its grace: nothing runs any more
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(watch)
        assert told(caught.value).reason == "SERVER_DRAINING"


SOON_ENOUGH_S = 60.0


async def test_draining_does_not_wait_for_readers_that_never_read() -> None:
    cleaned = asyncio.Event()

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        try:
            while True:
                yield [TextDelta("x" * 60_000)]
        finally:
            cleaned.set()

    async with serve(chat) as client:
        call = client.chat.StreamChat(HI)
        await read(call)
        (live,) = client.server._calls._live
        seen: list[object] = []

        def is_stuck() -> bool:
            seen.append(live.writing)
            return len(seen) > 5000 and all(item is seen[-1] for item in seen[-5000:])

        await until(is_stuck)
        await within(client.server.drain(0))
        assert cleaned.is_set()


# --- what a person types ---


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
    assert "stepwire.v1.ChatService" in listed
    for service in listed:
        assert f"{service} is a service" in described
    assert "rpc StreamChat" in described


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
        for file in (chat_pb2, embed_pb2, conversation_pb2, step_run_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    handlers = server()._gate._handlers
    assert {method for method in handlers if method.startswith("/stepwire.")} == declared
    for servicer in (ChatServicer, EmbedServicer, ConversationServicer, StepRunServicer):
        base = servicer.__mro__[1]
        left = [name for name in vars(base) if name[0].isupper() and name not in vars(servicer)]
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
        await until(lambda: client.metrics.calls or not client.server._calls._live)
        assert made < MIB
        call.cancel()
