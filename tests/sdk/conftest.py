"""Servers and clients for the tests of the SDK."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from stepwire import AsyncClient, Client
from tests.program import data_dir_with_models, running_without_loop
from tests.sdk.scripted import Server, serve, serve_in_thread


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


@pytest.fixture(scope="session")
def real_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the SDK's tests, beside the models that all tests share."""
    return data_dir_with_models(tmp_path_factory)


@pytest.fixture(scope="session")
def real_target(real_data_dir: Path) -> Generator[str]:
    with running_without_loop(real_data_dir) as address:
        yield address
