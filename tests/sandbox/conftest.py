from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from stepwired.limits import Limits
from stepwired.sandbox.calls import Run
from stepwired.sandbox.pool import Sandbox


@pytest.fixture(scope="module")
async def sandbox() -> AsyncGenerator[Sandbox]:
    sandbox = await Sandbox.open(Limits())
    yield sandbox
    await sandbox.close()


@pytest.fixture
async def one() -> AsyncGenerator[Sandbox]:
    """A sandbox with one process."""
    sandbox = await Sandbox.open(Limits(), processes_count=1)
    yield sandbox
    await sandbox.close()


@pytest.fixture
async def two() -> AsyncGenerator[Sandbox]:
    """A sandbox with two processes."""
    sandbox = await Sandbox.open(Limits(), processes_count=2)
    yield sandbox
    await sandbox.close()


@pytest.fixture
async def run(sandbox: Sandbox) -> AsyncGenerator[Run]:
    run = sandbox.run()
    yield run
    await run.aclose()
