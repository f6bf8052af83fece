from __future__ import annotations

import json
import shutil

import pytest

from stepwire import _channel
from tests.clients import examples
from tests.conftest import ROOT
from tests.e2e.conftest import Scripted

JAVA = ROOT / "clients" / "java"


@pytest.fixture
def chat(scripted: Scripted) -> list[str]:
    java = shutil.which("java")
    if java is None or not (ROOT / ".tools" / "bin" / "conformance-java").exists():
        pytest.skip("the Java client is not built: install a JDK 17 and Maven, then run `make client-java`")
    classpath = f"{JAVA}/target/classes:{JAVA}/target/lib/*"
    return [java, "-XX:+UseSerialGC", "-cp", classpath, "dev.stepwire.examples.Chat", scripted.program.address, "hi"]


async def test_the_example_prints_text_as_it_comes(scripted: Scripted, chat: list[str]) -> None:
    await examples.prints_text_as_it_comes(scripted, chat)


async def test_the_example_leaves_early_and_the_model_stops(scripted: Scripted, chat: list[str]) -> None:
    await examples.leaves_after_a_piece(scripted, [*chat, "fake", "1"], "left")


async def test_ctrl_c_stops_the_model(scripted: Scripted, chat: list[str]) -> None:
    await examples.ends_with_ctrl_c(scripted, chat, 130)


async def test_the_example_tells_why_a_call_failed(chat: list[str]) -> None:
    await examples.tells_why_it_failed([*chat, "nope"])


def test_what_gRPC_repeats_is_what_it_repeats_in_python() -> None:
    file = JAVA / "src" / "main" / "resources" / "dev" / "stepwire" / "service_config.json"
    assert json.loads(file.read_text("utf-8")) == _channel._SERVICE_CONFIG
