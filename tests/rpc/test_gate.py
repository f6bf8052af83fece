from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from stepwire.v1 import chat_pb2, embed_pb2
from stepwired.errors import Failure, Reason
from stepwired.limits import MIB, Limits
from stepwired.rpc.gate import anybody
from tests.rpc.serving import (
    Client,
    read,
    serve,
    told,
    within,
)

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def raw_call(client: Client, method: str, raw: bytes) -> Any:
    make: Any = client.channel.unary_stream(f"/stepwire.v1.{method}")
    return make(raw)


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
