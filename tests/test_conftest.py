"""The checks that watch every other test: do they see what they are there to see?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CASES = """
import asyncio
import socket

import pytest

kept = []

async def test_that_leaves_a_task():
    kept.append(asyncio.create_task(asyncio.sleep(60)))

async def test_that_leaves_a_socket():
    kept.append(socket.socket())

def test_that_leaves_a_socket_without_a_loop():
    kept.append(socket.socket())

async def test_that_closes_late(server):
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.close()

@pytest.fixture
async def server():
    async with await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0) as server:
        yield server

@pytest.fixture(scope="session")
async def loop_for_all():
    yield

async def test_that_keeps_a_loop_for_all(loop_for_all):
    pass

@pytest.mark.skip(reason="so that one is skipped")
def test_that_is_skipped():
    pass
"""


def test_a_leak_fails_the_test_that_left_it(tmp_path: Path) -> None:
    outcomes = _run(tmp_path, no_skip="0")
    assert outcomes == {
        "test_that_leaves_a_task": "ERROR",
        "test_that_leaves_a_socket": "ERROR",
        "test_that_leaves_a_socket_without_a_loop": "ERROR",
        "test_that_closes_late": "PASSED",
        "test_that_keeps_a_loop_for_all": "ERROR",
        "test_that_is_skipped": "SKIPPED",
    }


def test_a_skip_is_an_error_where_nothing_may_be_missing(tmp_path: Path) -> None:
    assert _run(tmp_path, no_skip="1")["test_that_is_skipped"] == "ERROR"


def _run(folder: Path, *, no_skip: str) -> dict[str, str]:
    """Run the cases under a copy of our conftest; the last word on each is its outcome."""
    conftest = Path(__file__).with_name("conftest.py").read_text("utf-8")
    settles, count = re.subn(r"^SETTLE_S = .*$", "SETTLE_S = 0.5", conftest, flags=re.MULTILINE)
    assert count == 1
    (folder / "conftest.py").write_text(settles, "utf-8")
    (folder / "test_cases.py").write_text(CASES, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-o", "anyio_mode=auto", "--rootdir", str(folder), str(folder)],
        cwd=folder,
        env=os.environ | {"STEPWIRE_NO_SKIP": no_skip},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"^test_cases\.py::(\w+) (PASSED|FAILED|ERROR|SKIPPED)", done.stdout, flags=re.MULTILINE)
    if not found:
        pytest.fail(done.stdout + done.stderr)
    return dict(found)
