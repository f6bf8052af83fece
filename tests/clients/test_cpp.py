from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import grpc
import pytest

from stepwire import _channel
from stepwire.v1.chat_pb2 import ConverseRequest, ConverseResponse, StreamChatRequest
from stepwire.v1.conversation_pb2 import AppendMessagesRequest, AppendMessagesResponse
from tests.clients import examples
from tests.conftest import ROOT
from tests.e2e.conftest import Scripted
from tests.program import HANG_S
from tests.sdk.refusing import Context
from tests.sdk.scripted import serve


def built(name: str) -> str:
    program = ROOT / ".tools" / "cpp" / name
    if not program.exists():
        pytest.skip("the C++ client is not built: install what its README says, then run `make client-cpp`")
    return str(program)


@pytest.fixture
def chat(scripted: Scripted) -> list[str]:
    return [built("chat"), scripted.program.address, "hi"]


async def test_the_example_prints_text_as_it_comes(scripted: Scripted, chat: list[str]) -> None:
    await examples.prints_text_as_it_comes(scripted, chat)


async def test_the_example_leaves_early_and_the_model_stops(scripted: Scripted, chat: list[str]) -> None:
    await examples.leaves_after_a_piece(scripted, [*chat, "fake", "1"], "cancelled")


async def test_ctrl_c_stops_the_model(scripted: Scripted, chat: list[str]) -> None:
    await examples.ends_with_ctrl_c(scripted, chat, 0)


async def test_the_example_tells_why_a_call_failed(chat: list[str]) -> None:
    await examples.tells_why_it_failed([*chat, "nope"])


async def test_the_example_refuses_what_is_no_number(chat: list[str]) -> None:
    async with examples.started(*chat, "fake", "x") as example:
        assert await example.ends() == ("", "x is no number of pieces\n")
        assert example.process.returncode == 2


async def test_the_driver_leaves_a_talk_while_a_request_waits_for_the_server_to_read() -> None:
    driver = built("conformance-cpp")
    come = 100

    async def behave(requests: AsyncIterator[ConverseRequest], context: Context) -> AsyncGenerator[ConverseResponse]:
        for turn in range(come):
            yield ConverseResponse(turn=turn)
        await asyncio.Event().wait()  # and reads no request

    request = ConverseRequest(chat=StreamChatRequest(prompt="x" * 15_000_000)).SerializeToString()
    call = {"id": "1", "call": "stepwire.v1.ChatService/Converse", "open": True, "leave_after": come}
    command = json.dumps({**call, "requests": [base64.b64encode(request).decode()]}) + "\n"
    async with serve() as server:
        server.on["Converse"] = behave
        async with examples.started(driver, server.target, stdin=asyncio.subprocess.PIPE) as started:
            said, _ = await asyncio.wait_for(started.process.communicate(command.encode()), HANG_S)
    answer = json.loads(said)
    assert (answer["code"], len(answer["messages"])) == ("CANCELLED", come)


async def test_what_is_repeated_has_one_id_in_each_api_of_gRPC() -> None:
    program = built("appends")
    came: dict[str, list[str]] = {}

    async def behave(request: AppendMessagesRequest, context: Context) -> AppendMessagesResponse:
        ids = came.setdefault(request.conversation_id, [])
        ids.append(request.request_id)
        if len(ids) == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "lost", (("grpc-retry-pushback-ms", "0"),))
        return AppendMessagesResponse()

    async with serve() as server:
        server.on["AppendMessages"] = behave
        async with examples.started(program, server.target) as appends:
            said, complaints = await appends.ends()
    apis = ["blocking", "queue", "callback", "generic", "named"]
    assert (said, complaints) == ("".join(f"{api} 0\n" for api in apis), "")
    named = came.pop("named")
    assert named == ["mine", "mine"]
    assert [len(ids) for ids in came.values()] == [2] * 4
    assert all(first == second and len(first) == 32 for first, second in came.values())
    assert len({ids[0] for ids in came.values()}) == 4


def test_without_a_toolchain_what_is_missing_is_named(tmp_path: Path) -> None:
    for tool in ("make", "bash"):
        found = shutil.which(tool)
        assert found
        (tmp_path / tool).symlink_to(found)
    env = {"PATH": str(tmp_path)}
    made = subprocess.run(["make", "client-cpp"], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    said = "the C++ client was left out: a C++ compiler or CMake or protoc or gRPC is missing"
    assert made.stderr.splitlines()[-1] == said
    assert made.returncode == 0


def test_what_gRPC_repeats_is_what_it_repeats_in_python() -> None:
    source = (ROOT / "clients" / "cpp" / "src" / "channel.cc").read_text("utf-8")
    written = re.search(r'R"\((.*?)\)"', source, re.DOTALL)
    assert written
    assert json.loads(written[1]) == _channel._SERVICE_CONFIG
