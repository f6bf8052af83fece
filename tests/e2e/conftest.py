"""Whole servers, on a scripted provider or on the real local models."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.fakeprov import Behaviour, Provider
from tests.program import Program, data_dir_with_models, running

SCRIPTED = """
[local]
enabled = false
[endpoints.fake]
base_url = "{base_url}"
# Whatever ends early was ended by what the test did.
first_byte_s = 600
idle_s = 600
total_s = 600
[models.fake]
endpoint = "fake"
[models.vectors]
endpoint = "fake"
kind = "embed"
dimensions = 3
"""


def settings(provider: Provider) -> str:
    """Settings of a server whose only models are the scripted provider's."""
    return SCRIPTED.format(base_url=provider.base_url)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_dir_with_models(tmp_path_factory)


@pytest.fixture(scope="module")
async def server(data_dir: Path) -> AsyncGenerator[Program]:
    """A server on the local models, for all tests of a module."""
    async with running(data_dir) as program:
        yield program


class Scripted:
    """A server and the provider it asks, whose behaviour a test may change."""

    def __init__(self, program: Program, provider: Provider) -> None:
        self.program = program
        self.provider = provider

    def behave(self, behaviour: Behaviour) -> None:
        self.provider.behaviour = behaviour


@pytest.fixture
async def scripted(tmp_path: Path) -> AsyncGenerator[Scripted]:
    from tests.fakeprov import behaviours

    async with Provider(behaviours.reply()) as provider, running(tmp_path, settings(provider)) as program:
        yield Scripted(program, provider)


@pytest.fixture(scope="module")
async def server_alone(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Program]:
    """A server without any model, for all tests of a module."""
    async with running(tmp_path_factory.mktemp("alone"), "[local]\nenabled = false\n") as program:
        yield program
