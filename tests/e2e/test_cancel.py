"""However a call ends early, the provider's socket is closed at once, and the server is whole afterwards."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import grpc
import pytest
from google.protobuf import json_format

from stepwire.v1 import chat_pb2, chat_pb2_grpc, step_run_pb2_grpc
from stepwire.v1.step_run_pb2 import RunStepRequest
from tests.e2e.conftest import Scripted
from tests.fakeprov import Behaviour, behaviours
from tests.program import HANG_S

CLOSED_S = 5.0
"""Far more than closing a socket takes on a busy machine, and far less than any limit of the server's own."""

PROMPT = chat_pb2.StreamChatRequest(prompt="hi")


async def until_asked(scripted: Scripted, count: int = 1) -> None:
    async with asyncio.timeout(HANG_S):
        while len(scripted.provider.requests) < count:
            scripted.provider.asked.clear()
            await scripted.provider.asked.wait()


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def all_closed(scripted: Scripted) -> None:
    await scripted.provider.closed(len(scripted.provider.connections), CLOSED_S)


@pytest.mark.parametrize(
    "behaviour", [behaviours.silent(), behaviours.stalled(), behaviours.reply(["x"] * 10**6, gap_s=0.001)]
)
async def test_a_cancelled_stream_closes_the_providers_socket(scripted: Scripted, behaviour: Behaviour) -> None:
    scripted.behave(behaviour)
    async with scripted.program.channel() as channel:
        call = chat_pb2_grpc.ChatServiceStub(channel).StreamChat(PROMPT)
        await until_asked(scripted)
        call.cancel()
        await all_closed(scripted)


async def test_a_cancelled_unary_call_closes_the_providers_socket(scripted: Scripted) -> None:
    scripted.behave(behaviours.stalled())
    async with scripted.program.channel() as channel:
        call = chat_pb2_grpc.ChatServiceStub(channel).Chat(chat_pb2.ChatRequest(prompt="hi"))
        await until_asked(scripted)
        call.cancel()
        await all_closed(scripted)


async def test_a_deadline_closes_the_providers_socket(scripted: Scripted) -> None:
    scripted.behave(behaviours.silent())
    async with scripted.program.channel() as channel:
        call = chat_pb2_grpc.ChatServiceStub(channel).StreamChat(PROMPT, timeout=0.3)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(aiter(call))
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await all_closed(scripted)


_LEAVER = """
import sys, grpc
from stepwire.v1 import chat_pb2, chat_pb2_grpc
stub = chat_pb2_grpc.ChatServiceStub(grpc.insecure_channel(sys.argv[1]))
for event in stub.StreamChat(chat_pb2.StreamChatRequest(prompt="hi")):
    print(event.WhichOneof("event"), flush=True)
"""


async def test_a_killed_client_closes_the_providers_socket(scripted: Scripted) -> None:
    scripted.behave(behaviours.stalled())
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _LEAVER, scripted.program.address, stdout=asyncio.subprocess.PIPE
    )
    assert client.stdout is not None
    assert await asyncio.wait_for(client.stdout.readline(), HANG_S) == b"started\n"
    client.kill()
    await client.communicate()
    await all_closed(scripted)


async def test_a_cancelled_run_closes_every_socket_that_it_opened(scripted: Scripted) -> None:
    scripted.behave(behaviours.silent())
    spec = {"steps": [{"map": {"step": {"chat": {}, "max_concurrency": 64}}}], "input": ["hi"] * 64}
    async with scripted.program.channel() as channel:
        call = step_run_pb2_grpc.StepRunServiceStub(channel).RunStep(json_format.ParseDict(spec, RunStepRequest()))
        await until_asked(scripted, 64)
        call.cancel()
        await all_closed(scripted)


async def test_thousands_of_cancels_leave_a_server_that_answers_everything(scripted: Scripted) -> None:
    """The pool of plain httpx is dead after some four thousand of these."""
    scripted.behave(behaviours.stalled())
    pid = scripted.program.process.pid
    async with scripted.program.channel() as channel:
        stub = chat_pb2_grpc.ChatServiceStub(channel)

        async def churn(count: int) -> None:
            for number in range(count):
                call = stub.StreamChat(PROMPT)
                if number % 2:
                    await anext(aiter(call))
                else:
                    await asyncio.sleep(0)
                call.cancel()

        async def leave(count: int) -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(20):
                    group.create_task(churn(count))
            await all_closed(scripted)

        await leave(25)
        before = descriptors(pid)
        await leave(225)
        scripted.behave(behaviours.reply(["o", "k"]))
        replies = await asyncio.gather(
            *(stub.Chat(chat_pb2.ChatRequest(prompt="hi"), timeout=HANG_S) for _ in range(200))
        )
        assert {reply.text for reply in replies} == {"ok"}
        idle = scripted.provider.live  # kept for further requests, and none of them in use
        assert descriptors(pid) <= before + idle
