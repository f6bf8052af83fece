"""Servers and clients for the tests of the SDK."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import platformdirs
import pytest

from stepwire import AsyncClient, Client
from tests.program import running_without_loop
from tests.sdk.commands import Run, on
from tests.sdk.scripted import Server, serve, serve_in_thread
from tests.sdk.stepping import ALONE

STOP_S = 60.0


@pytest.fixture
async def server() -> AsyncGenerator[Server]:
    """A scripted server in the test's own event loop."""
    async with serve() as running:
        yield running


@pytest.fixture
async def client(server: Server) -> AsyncGenerator[AsyncClient]:
    async with AsyncClient(server.target) as made:
        yield made


@pytest.fixture
def far_server() -> Generator[Server]:
    """A scripted server in a thread of its own."""
    with serve_in_thread() as running:
        yield running


@pytest.fixture
def blocking(far_server: Server) -> Generator[Client]:
    with Client(far_server.target) as made:
        yield made


@pytest.fixture
def run(far_server: Server) -> Run:
    """The command, with a scripted server."""
    return on(far_server.target)


@pytest.fixture
def talk(run: Run) -> Run:
    """A conversation `c1` with two messages, and a short way to the commands."""
    assert run("conversations", "new", "hi", "a kitten sleeps", "--id", "c1", "--title", "cats").exit_code == 0
    return partial(run, "conversations")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The real server without models, for the tests of one file."""
    with running_without_loop(tmp_path_factory.mktemp("data"), ALONE) as address:
        yield address


@pytest.fixture(scope="session")
def real_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the SDK's tests, beside the models that all tests share."""
    shared = Path(os.environ.get("STEPWIRE_TEST_MODELS") or platformdirs.user_data_dir("stepwire"))
    program = Path(sys.executable).with_name("stepwired")
    subprocess.run([program, "models", "pull", "--data-dir", shared], check=True, capture_output=True)
    folder = tmp_path_factory.mktemp("data")
    (folder / "models").symlink_to(shared / "models")
    return folder


@contextmanager
def real_server(data_dir: Path, port: int = 0) -> Generator[str]:
    """Run the real server; its address."""
    program = Path(sys.executable).with_name("stepwired")
    arguments: list[str | Path] = [program, "serve", "--port", str(port), "--http-port", "0"]
    arguments += ["--data-dir", data_dir]
    with (data_dir / "log").open("ab") as log:
        server = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=log, text=True)
        assert server.stdout is not None
        with server.stdout as output:
            try:
                found = re.search(r"serves gRPC on (\S+:\d+)", output.readline())
                assert found, (data_dir / "log").read_text()
                yield found[1]
            finally:
                server.terminate()
                assert server.wait(STOP_S) == 0


@pytest.fixture(scope="session")
def real_target(real_data_dir: Path) -> Generator[str]:
    with real_server(real_data_dir) as target:
        yield target
