"""A server on a scripted provider, for programs of other languages."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.e2e.conftest import Scripted, settings
from tests.fakeprov import Provider, behaviours
from tests.program import running


@pytest.fixture
async def scripted(tmp_path: Path) -> AsyncGenerator[Scripted]:
    async with Provider(behaviours.reply()) as provider, running(tmp_path, settings(provider)) as program:
        yield Scripted(program, provider)
