"""Programs of the simplest kind, in Node, read everything that the server sends."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Scripted
from tests.fakeprov import behaviours
from tests.program import HANG_S, Program

READ = Path(__file__).with_name("reading") / "read.mjs"
ROOT = READ.parents[3]
ONE_READ_BYTES = 64 * 1024
"""What Node takes from a socket at once."""

LOOPS = {"basic": 1, "advanced": 3, "retry": 1, "progress": 1, "page": 1}
HARD = ("\u2028", "\U0001f9d1\u200d\U0001f680", "é", "日本", '"\\', "\n\n", "data: [DONE]", "\x7f", "\ufeff")


@pytest.fixture(scope="session", params=["the machine's", "ours"])
def node(request: pytest.FixtureRequest) -> str:
    """Node as the machine has it, and as we test with."""
    ours = shutil.which(str(ROOT / ".tools" / "bin" / "node"))
    found = (shutil.which("node") or ours) if request.param == "the machine's" else ours
    if found is None:
        pytest.skip("Node is missing: run `make node`")
    return found


async def read(node: str, url: str, loop: str, model: str = "fake") -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        node, READ, url, loop, model, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), HANG_S)
    assert process.returncode == 0, err.decode()
    found: dict[str, Any] = json.loads(out)
    return found


def tokens(count: int) -> list[str]:
    return [f" {number}{HARD[number % len(HARD)] if number % 7 == 0 else ''}" for number in range(count)]


SHAPES: dict[str, Callable[[list[str]], Any]] = {
    "at once": lambda said: behaviours.stream(behaviours.transcript(said)),
    "one by one": behaviours.reply,
    "cut anywhere": lambda said: behaviours.stream(
        body := behaviours.transcript(said), cuts=range(1, len(body), max(1, len(body) // 997))
    ),
}
COUNT = 240
"""With an event each they are one read, however late the reader is; of more, such loops may lose some of any server."""


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("loop", LOOPS)
async def test_no_token_is_lost(scripted: Scripted, node: str, loop: str, shape: str) -> None:
    said = tokens(COUNT)
    scripted.behave(SHAPES[shape](said))
    found = await read(node, scripted.program.http, loop)
    assert found["failed"] == ""
    assert found["bytes"] < ONE_READ_BYTES
    assert found["text"] == "".join(said) * LOOPS[loop]
    assert found["ends"] == LOOPS[loop]


@pytest.mark.parametrize("shape", SHAPES)
async def test_who_puts_lines_together_loses_none_of_ten_thousand_tokens(
    scripted: Scripted, node: str, shape: str
) -> None:
    said = tokens(10_000)
    scripted.behave(SHAPES[shape](said))
    found = await read(node, scripted.program.http, "lines")
    assert (found["failed"], found["ends"]) == ("", 1)
    assert found["text"] == "".join(said)


async def test_a_refusal_says_how_long_to_wait_in_whole_seconds(scripted: Scripted, node: str) -> None:
    refused = behaviours.status(429, {"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"})
    scripted.behave(behaviours.in_turn(*[refused] * 3, behaviours.reply()))
    found = await read(node, scripted.program.http, "retry")
    assert found["text"] == "Hello"
    assert all(isinstance(wait, int) and wait >= 1 for wait in found["waits"])


@pytest.mark.parametrize("loop", LOOPS)
async def test_a_reply_that_breaks_off_is_no_whole_one(scripted: Scripted, node: str, loop: str) -> None:
    scripted.behave(behaviours.truncated())
    found = await read(node, scripted.program.http, loop)
    assert found["ends"] == 0
    assert found["failed"]


async def test_a_reply_of_the_local_model_is_read_whole(server: Program, node: str) -> None:
    for loop, turns in LOOPS.items():
        found = await read(node, server.http, loop, "gpt-4")
        assert (found["failed"], found["ends"]) == ("", turns)
        assert found["text"]
