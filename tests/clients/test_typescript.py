"""The TypeScript client's own tests, which Node runs, against a whole server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.clients import examples
from tests.clients.words import World, world
from tests.conftest import ROOT
from tests.e2e.conftest import Scripted
from tests.program import HANG_S

FOLDER = ROOT / "clients" / "typescript"
NODE = ROOT / ".tools" / "bin" / "node"
FILES = sorted(path.name for path in (FOLDER / "test").glob("*.test.ts"))


@pytest.fixture(scope="session")
def node() -> Path:
    if not NODE.exists() or not (FOLDER / "dist" / "index.js").exists():
        pytest.skip("the TypeScript client is not built: run `make client-typescript`")
    return NODE


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[World]:
    async with world(tmp_path_factory.mktemp("served")) as made:
        yield made


async def ran(
    *command: str | Path, environ: dict[str, str] | None = None, folder: Path = FOLDER
) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, **(environ or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), 3 * HANG_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    return process.returncode, said.decode()


@pytest.mark.parametrize("file", FILES)
async def test_node_finds_no_fault_with(file: str, node: Path, served: World) -> None:
    status, said = await ran(node, "--test", "--test-reporter=spec", f"test/{file}", environ=served.environ)
    assert status == 0, said


async def test_types_hold_of_tests_and_examples(node: Path) -> None:
    status, said = await ran(node, "node_modules/.bin/tsc", "-p", "tsconfig.test.json")
    assert status == 0, said


@pytest.fixture
def chat(node: Path, scripted: Scripted) -> list[str]:
    return [str(node), str(FOLDER / "examples" / "chat.ts"), "--server", scripted.program.address]


async def test_the_example_prints_text_as_it_comes(scripted: Scripted, chat: list[str]) -> None:
    await examples.prints_text_as_it_comes(scripted, [*chat, "hi"])


async def test_the_example_leaves_early_and_the_model_stops(scripted: Scripted, chat: list[str]) -> None:
    await examples.leaves_after_a_piece(scripted, [*chat, "--pieces", "1", "hi"], "cancelled")


async def test_ctrl_c_stops_the_model(scripted: Scripted, chat: list[str]) -> None:
    await examples.ends_with_ctrl_c(scripted, [*chat, "hi"], 0)


async def test_the_example_tells_why_a_call_failed(chat: list[str]) -> None:
    await examples.tells_why_it_failed([*chat, "--model", "nope", "hi"])
