from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest

from clients.conformance.runner import wire
from stepwire import _channel
from tests.clients import examples
from tests.conftest import ROOT
from tests.e2e.conftest import Scripted
from tests.program import HANG_S

RUST = ROOT / "clients" / "rust"


@pytest.fixture(scope="session")
def program() -> Path:
    """The example of a chat, built."""
    built = ROOT / ".tools" / "rust" / "debug" / "examples" / "chat"
    if not built.exists():
        pytest.skip("the Rust client is not built: install Rust 1.88 or later, then run `make client-rust`")
    return built


@pytest.fixture
def chat(program: Path, scripted: Scripted) -> list[str]:
    return [str(program), scripted.program.address, "hi"]


async def test_the_example_prints_text_as_it_comes(scripted: Scripted, chat: list[str]) -> None:
    await examples.prints_text_as_it_comes(scripted, chat)


async def test_the_example_leaves_early_and_the_model_stops(scripted: Scripted, chat: list[str]) -> None:
    await examples.leaves_after_a_piece(scripted, [*chat, "fake", "1"], "left")


async def test_ctrl_c_stops_the_model(scripted: Scripted, chat: list[str]) -> None:
    await examples.ends_with_ctrl_c(scripted, chat, 0)


async def test_the_example_tells_why_a_call_failed(chat: list[str]) -> None:
    await examples.tells_why_it_failed([*chat, "nope"])


def test_what_the_connection_repeats_is_what_gRPC_repeats_in_python() -> None:
    written = re.findall(r'"/([\w.]+)/(\w+)",', (RUST / "src" / "retry.rs").read_text("utf-8"))
    assert sorted(written) == sorted(
        (service, method) for service, methods in _channel.IDEMPOTENT.items() for method in methods
    )


def test_the_connection_knows_which_methods_take_a_stream() -> None:
    written = re.findall(r'"/([\w.]+)/(\w+)",', (RUST / "src" / "calls.rs").read_text("utf-8"))
    assert sorted(written) == sorted(
        (method.containing_service.full_name, method.name)
        for method in wire.methods()
        if method.client_streaming and method.containing_service.full_name.startswith("stepwire.v1.")
    )


@pytest.mark.usefixtures("program")
async def test_the_tests_in_rust_pass() -> None:
    env = {**os.environ, "CARGO_TARGET_DIR": str(ROOT / ".tools" / "rust")}
    process = await asyncio.create_subprocess_exec(
        "cargo", "test", "-q", "--locked", "--lib", cwd=RUST, env=env,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(), 10 * HANG_S)
    assert process.returncode == 0, said.decode()
