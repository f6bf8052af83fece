"""The server as a process: what it refuses to start with, how it ends, and what it leaves behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from stepwire.v1 import chat_pb2, chat_pb2_grpc, embed_pb2, embed_pb2_grpc
from tests.e2e.conftest import Scripted, settings
from tests.fakeprov import Provider, behaviours
from tests.program import HANG_S, STEPWIRED, Program, data_dir_with_models, running
from tests.rpc.serving import told


async def refused(*arguments: str | Path, environ: dict[str, str] | None = None) -> str:
    """Start a server that cannot start; what it says."""
    process = await asyncio.create_subprocess_exec(
        STEPWIRED,
        "serve",
        "--http-port",
        "0",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environ or {})},
    )
    out, err = await asyncio.wait_for(process.communicate(), HANG_S)
    assert process.returncode == 1
    assert out == b""
    return err.decode()


async def test_a_port_that_is_taken_is_refused_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = await refused("--port", port, "--data-dir", tmp_path)
    assert said.count("\n") == 1
    assert port in said


async def test_a_store_that_is_in_use_is_refused_and_its_user_named(scripted: Scripted) -> None:
    data_dir = scripted.program.log.parent
    said = await refused("--port", "0", "--data-dir", data_dir)
    assert said.count("\n") == 1
    assert str(scripted.program.process.pid) in said


async def test_an_address_that_others_can_reach_is_refused(
    tmp_path: Path,
) -> None:
    assert "TLS" in await refused("--host", "0.0.0.0", "--port", "0", "--data-dir", tmp_path)


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    assert str(in_the_way) in await refused("--port", "0", "--data-dir", in_the_way / "data")


async def test_settings_with_faults_are_refused_with_each_of_them(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("[server]\ngrpc_prt = 1\n[limits]\nmax_calls = -1\n")
    said = await refused("--config", file)
    assert "grpc_prt" in said
    assert "max_calls" in said


async def test_sigterm_lets_a_reply_finish_and_ends_with_success(scripted: Scripted) -> None:
    release = asyncio.Event()
    body = behaviours.transcript(["o", "k"])
    scripted.behave(behaviours.paused(body, len(body) // 2, release))
    program = scripted.program
    async with program.channel() as channel:
        call = chat_pb2_grpc.ChatServiceStub(channel).StreamChat(chat_pb2.StreamChatRequest(prompt="hi"))
        events = aiter(call)
        assert (await anext(events)).HasField("started")
        watch: Any = health_pb2_grpc.HealthStub(channel)  # comes without this method's type
        health = watch.Watch(health_pb2.HealthCheckRequest())
        states = aiter(health)
        assert (await anext(states)).status == health_pb2.HealthCheckResponse.SERVING
        program.process.send_signal(signal.SIGTERM)
        assert (await anext(states)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        health.cancel()
        release.set()
        rest = [event async for event in events]
        assert rest[-1].HasField("finished")
    assert await asyncio.wait_for(program.process.wait(), HANG_S) == 0


async def test_what_outlasts_the_grace_is_told_to_try_again(tmp_path: Path) -> None:
    short = "[server]\nshutdown_grace_s = 0.2\n"
    async with (
        Provider(behaviours.stalled()) as provider,
        running(tmp_path, short + settings(provider)) as program,
        program.channel() as channel,
    ):
        call = chat_pb2_grpc.ChatServiceStub(channel).StreamChat(chat_pb2.StreamChatRequest(prompt="hi"))
        events = aiter(call)
        await anext(events)
        program.process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in events:
                pass
        assert await asyncio.wait_for(program.process.wait(), HANG_S) == 0
    said = told(caught.value)
    assert (said.code, said.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")
    assert said.retry_after_s


async def gone(pid: int) -> None:
    """Wait until a process, which is no child of ours, has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), HANG_S)
    finally:
        loop.remove_reader(handle)
        os.close(handle)


async def reply(program: Program) -> chat_pb2.ChatResponse:
    async with program.channel() as channel:
        request = chat_pb2.ChatRequest(prompt="Say hello.", options=chat_pb2.ChatOptions(max_tokens=8))
        answer: chat_pb2.ChatResponse = await chat_pb2_grpc.ChatServiceStub(channel).Chat(request, timeout=HANG_S)
        return answer


async def test_a_killed_server_leaves_no_local_model_behind(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with running(data_dir_with_models(tmp_path_factory)) as program:
        await reply(program)
        children = program.children()
        assert len(children) > len(program.children("stepwired.sandbox")) > 0
        program.process.kill()
        for child in children:
            await gone(child)


async def test_a_killed_local_model_fails_its_reply_and_answers_the_next(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with running(data_dir_with_models(tmp_path_factory)) as program, program.channel() as channel:
        stub = chat_pb2_grpc.ChatServiceStub(channel)
        call = stub.StreamChat(chat_pb2.StreamChatRequest(prompt="Tell me a long story about a cat."), timeout=HANG_S)
        events = aiter(call)
        await anext(events)
        [child] = program.children("stepwired.local")
        os.kill(child, signal.SIGKILL)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in events:
                pass
        said = told(caught.value)
        assert (said.code, said.reason) == (grpc.StatusCode.UNAVAILABLE, "PROVIDER_STREAM_TRUNCATED")
        assert (await reply(program)).text


async def test_a_real_model_ranks_by_meaning(server: Program) -> None:
    async with server.channel() as channel:
        documents = ["the market fell", "rain is expected", "a kitten sleeps", "she plays the violin", "bread is baked"]
        found = await embed_pb2_grpc.EmbedServiceStub(channel).Search(
            embed_pb2.SearchRequest(query="cat", documents=documents), timeout=HANG_S
        )
    assert documents[found.hits[0].index] == "a kitten sleeps"
    assert [hit.score for hit in found.hits] == sorted((hit.score for hit in found.hits), reverse=True)
