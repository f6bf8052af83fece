from __future__ import annotations

import json
import re

import pytest

from stepwire import _channel
from tests.clients import examples
from tests.conftest import ROOT
from tests.e2e.conftest import Scripted


@pytest.fixture
def chat(scripted: Scripted) -> list[str]:
    program = ROOT / ".tools" / "cpp" / "chat"
    if not program.exists():
        pytest.skip("the C++ client is not built: install what its README says, then run `make client-cpp`")
    return [str(program), scripted.program.address, "hi"]


async def test_the_example_prints_text_as_it_comes(scripted: Scripted, chat: list[str]) -> None:
    await examples.prints_text_as_it_comes(scripted, chat)


async def test_the_example_leaves_early_and_the_model_stops(scripted: Scripted, chat: list[str]) -> None:
    await examples.leaves_after_a_piece(scripted, [*chat, "fake", "1"], "cancelled")


async def test_ctrl_c_stops_the_model(scripted: Scripted, chat: list[str]) -> None:
    await examples.ends_with_ctrl_c(scripted, chat, 0)


async def test_the_example_tells_why_a_call_failed(chat: list[str]) -> None:
    await examples.tells_why_it_failed([*chat, "nope"])


def test_what_gRPC_repeats_is_what_it_repeats_in_python() -> None:
    source = (ROOT / "clients" / "cpp" / "src" / "channel.cc").read_text("utf-8")
    written = re.search(r'R"\((.*?)\)"', source, re.DOTALL)
    assert written
    assert json.loads(written[1]) == _channel._SERVICE_CONFIG
