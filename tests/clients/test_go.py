from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from stepwire import AsyncClient, _channel
from stepwire.steps import named, spread
from tests.clients import examples
from tests.conftest import ROOT
from tests.e2e.conftest import Scripted
from tests.program import HANG_S

GO = ROOT / "clients" / "go"


@pytest.fixture(scope="session")
def programs() -> Path:
    """Folder of the examples, built."""
    folder = ROOT / ".tools" / "go"
    if not (folder / "chat").exists():
        pytest.skip("the Go client is not built: install Go, then run `make client-go`")
    return folder


@pytest.fixture
def chat(programs: Path, scripted: Scripted) -> list[str]:
    return [str(programs / "chat"), "-server", scripted.program.address]


async def test_the_example_prints_text_as_it_comes(scripted: Scripted, chat: list[str]) -> None:
    await examples.prints_text_as_it_comes(scripted, [*chat, "hi"])


async def test_the_example_leaves_early_and_the_model_stops(scripted: Scripted, chat: list[str]) -> None:
    await examples.leaves_after_a_piece(scripted, [*chat, "-pieces", "1", "hi"], "cancelled")


async def test_ctrl_c_stops_the_model(scripted: Scripted, chat: list[str]) -> None:
    await examples.ends_with_ctrl_c(scripted, [*chat, "hi"], 0)


async def test_the_example_tells_why_a_call_failed(chat: list[str]) -> None:
    await examples.tells_why_it_failed([*chat, "-model", "nope", "hi"])


async def test_a_worker_in_go_serves_a_pipeline_of_python_and_goes_when_it_is_told(
    scripted: Scripted, programs: Path
) -> None:
    address = scripted.program.address
    async with examples.started(programs / "worker", "-server", address) as worker, AsyncClient(address) as client:
        await worker.prints("ready\n")
        louder = [result async for result in client.run([named("go.words"), named("go.shout")], "one two")]
        assert [result.value for result in louder] == ["ONE!", "TWO!"]
        refused = [result async for result in client.run([spread(), named("go.shout")], ["one", 2])]
        assert [result.value if result.error is None else result.error.reason for result in refused] == [
            "ONE!",
            "STEP_INPUT_INVALID",
        ]
        worker.process.terminate()
        assert await worker.ends() == ("", "")
        assert worker.process.returncode == 0


def test_what_gRPC_repeats_is_what_it_repeats_in_python() -> None:
    written = json.loads((GO / "stepwire" / "service_config.json").read_text("utf-8"))
    assert written == _channel._SERVICE_CONFIG


@pytest.mark.parametrize("command", ["test", "vet"])
async def test_go_finds_no_fault(command: str) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is missing")
    process = await asyncio.create_subprocess_exec(
        go, command, "./...", cwd=GO, env={**os.environ, "GOFLAGS": "-buildvcs=false"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(), 10 * HANG_S)
    assert process.returncode == 0, said.decode()
