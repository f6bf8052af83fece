"""A provider of other people's making, on four wires and with its chaos on: `@copilotkit/aimock`, of npm."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.protobuf import json_format

from stepwire.v1 import chat_pb2, chat_pb2_grpc, embed_pb2, embed_pb2_grpc
from tests.conftest import ROOT
from tests.imaging.corpus import noise
from tests.program import HANG_S, Program, running
from tests.rpc.serving import Told, told

FIXTURES = Path(__file__).parent / "aimock" / "fixtures.json"
PROGRAM = ROOT / ".tools/aimock/node_modules/@copilotkit/aimock/dist/cli.js"
TEXT = "Hello from far away – and a reply long enough for several chunks."
TOOL = {
    "name": "get_weather",
    "description": "The weather of a place",
    "schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}

#: Where it serves each wire.
PATHS = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta", "ollama": "", "cohere": "/v2"}
CHATS = ["openai", "anthropic", "gemini", "ollama"]

#: How long vectors are that it makes up. It has no batches of Gemini, and an older shape of Ollama's `api/embed`.
EMBEDS = {"openai": 1536, "cohere": 1024}


@dataclass
class Mock:
    """aimock, and a server that asks it on every wire."""

    url: str
    program: Program

    async def chaos(self, **rates: float) -> None:
        """How often each kind of fault is to happen from now on; the others do not."""
        await asyncio.to_thread(self._chaos, rates)

    def _chaos(self, rates: dict[str, float]) -> None:
        address = f"{self.url}/__aimock/chaos"
        for method, body in [("DELETE", b""), ("POST", json.dumps(rates).encode())]:
            with urllib.request.urlopen(urllib.request.Request(address, body, method=method)) as reply:
                assert reply.status == 200

    async def last_asked(self) -> str:
        """The last request that it got, as JSON."""
        return await asyncio.to_thread(lambda: urllib.request.urlopen(f"{self.url}/__aimock/journal").read().decode())

    async def ask(self, model: str, prompt: str, **fields: object) -> chat_pb2.ChatResponse:
        request = json_format.ParseDict({"model": model, "prompt": prompt, **fields}, chat_pb2.ChatRequest())
        async with self.program.channel() as channel:
            answer: chat_pb2.ChatResponse = await chat_pb2_grpc.ChatServiceStub(channel).Chat(request, timeout=HANG_S)
            return answer

    async def outcome(self, model: str, prompt: str) -> str | Told:
        """Its text, or how it failed."""
        try:
            return (await self.ask(model, prompt)).text
        except grpc.aio.AioRpcError as error:
            return told(error)


def settings(url: str) -> str:
    lines = ["[local]", "enabled = false"]
    for wire in CHATS:
        lines += [f"[endpoints.{wire}]", f'wire = "{wire}"', f'base_url = "{url}{PATHS[wire]}"']
        lines += [f"[models.{wire}]", f'endpoint = "{wire}"', 'model = "m-1"', "images = true"]
    lines += ["[endpoints.cohere]", 'wire = "cohere"', f'base_url = "{url}{PATHS["cohere"]}"']
    for wire, dimensions in EMBEDS.items():
        lines += [
            f'[models."{wire}-vectors"]',
            f'endpoint = "{wire}"',
            'kind = "embed"',
            'model = "v-1"',
            f"dimensions = {dimensions}",
        ]
    return "\n".join(lines)


@asynccontextmanager
async def serving() -> AsyncGenerator[str]:
    """Run it; its address."""
    node = ROOT / ".tools/bin/node"
    if not (node.exists() and PROGRAM.exists()):
        pytest.skip("aimock is missing: it takes Node and npm; `make aimock` says what is wrong")
    process = await asyncio.create_subprocess_exec(
        node, PROGRAM, "--port", "0", "--fixtures", FIXTURES, "--journal-max", "1",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        said = await asyncio.wait_for(process.stdout.readuntil(b"listening on "), HANG_S)
        line = (await asyncio.wait_for(process.stdout.readline(), HANG_S)).decode().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", line), (said, line)
        reading = asyncio.create_task(process.stdout.read())  # so that its pipe never fills
        yield line
        process.kill()
        await reading
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture(scope="module")
async def mock(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Mock]:
    async with serving() as url, running(tmp_path_factory.mktemp("aimock"), settings(url)) as program:
        yield Mock(url, program)


@pytest.mark.parametrize("wire", CHATS)
async def test_a_reply_comes_whole(mock: Mock, wire: str) -> None:
    await mock.chaos()
    answer = await mock.ask(wire, "greet")
    assert (answer.text, answer.finished.provider) == (TEXT, wire)
    assert answer.finished.reason == chat_pb2.FINISH_REASON_STOP


@pytest.mark.parametrize("wire", CHATS)
async def test_a_tool_is_called_and_what_it_said_goes_back(mock: Mock, wire: str) -> None:
    await mock.chaos()
    first = await mock.ask(wire, "weather", options={"tools": [TOOL]})
    assert first.finished.reason == chat_pb2.FINISH_REASON_TOOL_USE
    [called] = [message for message in first.finished.messages if message.HasField("tool_use")]
    assert (called.tool_use.name, json_format.MessageToDict(called.tool_use.input)) == (
        "get_weather",
        {"city": "Tromsø"},
    )
    result = {"toolResult": {"toolId": called.tool_use.tool_id, "result": "rain"}}
    history = [{"text": "weather"}, *map(json_format.MessageToDict, first.finished.messages), result]
    request = {"model": wire, "messages": history, "options": {"tools": [TOOL]}}
    async with mock.program.channel() as channel:
        asked = json_format.ParseDict(request, chat_pb2.ChatRequest())
        second = await chat_pb2_grpc.ChatServiceStub(channel).Chat(asked, timeout=HANG_S)
    assert second.text == "It rains in Tromsø."


@pytest.mark.parametrize("wire", CHATS)
async def test_a_question_about_a_picture_is_answered(mock: Mock, wire: str) -> None:
    await mock.chaos()
    picture = base64.b64encode(noise("PNG", (8, 8))).decode()
    answer = await mock.ask(wire, "", messages=[{"text": "greet", "images": [{"data": picture}]}])
    assert answer.text == TEXT
    if wire == "openai":  # of the other wires it notes down the texts alone; what these are sent is tested apart
        assert picture in await mock.last_asked()


@pytest.mark.parametrize("wire", EMBEDS)
async def test_texts_become_vectors(mock: Mock, wire: str) -> None:
    await mock.chaos()
    async with mock.program.channel() as channel:
        made = await embed_pb2_grpc.EmbedServiceStub(channel).Embed(
            embed_pb2.EmbedRequest(model=f"{wire}-vectors", texts=["cat", "horse", "cat"]), timeout=HANG_S
        )
    cat, horse, again = (list(item.values) for item in made.embeddings)
    assert len(cat) == len(horse) == EMBEDS[wire]
    assert cat == again != horse


@pytest.mark.parametrize("wire", CHATS)
async def test_a_reply_that_breaks_off_is_not_taken_for_a_whole_one(mock: Mock, wire: str) -> None:
    await mock.chaos()
    outcome = await mock.outcome(wire, "break off")
    assert isinstance(outcome, Told)
    assert outcome.code is grpc.StatusCode.UNAVAILABLE
    # It resets the connection, which may overtake the little that it said.
    assert outcome.reason in {"PROVIDER_STREAM_TRUNCATED", "PROVIDER_UNREACHABLE"}


@pytest.mark.parametrize(
    ("fault", "reason", "may_retry"),
    [
        ("dropRate", "PROVIDER_ERROR", True),
        ("malformedRate", "PROVIDER_PROTOCOL_ERROR", False),
        ("rateLimitRate", "PROVIDER_RATE_LIMITED", True),
        ("disconnectRate", "PROVIDER_UNREACHABLE", True),
    ],
)
async def test_each_of_its_faults_is_told_as_what_it_is(mock: Mock, fault: str, reason: str, may_retry: bool) -> None:
    await mock.chaos(**{fault: 1})
    outcomes = await asyncio.gather(*(mock.outcome(wire, "greet") for wire in CHATS))
    for wire, outcome in zip(CHATS, outcomes, strict=True):
        assert isinstance(outcome, Told), wire
        assert (outcome.reason, outcome.facts["provider"]) == (reason, wire)
        assert (outcome.retry_after_s is not None) == may_retry


async def test_in_chaos_each_reply_is_whole_or_says_why_not_and_afterwards_all_is_well(mock: Mock) -> None:
    await mock.chaos(dropRate=0.1, malformedRate=0.1, rateLimitRate=0.1, disconnectRate=0.1)
    outcomes = await asyncio.gather(*(mock.outcome(wire, "greet") for wire in CHATS * 10))
    failures = [outcome for outcome in outcomes if isinstance(outcome, Told)]
    assert {outcome for outcome in outcomes if isinstance(outcome, str)} == {TEXT}
    assert {failure.reason for failure in failures} <= {
        "PROVIDER_ERROR",
        "PROVIDER_PROTOCOL_ERROR",
        "PROVIDER_RATE_LIMITED",
        "PROVIDER_UNREACHABLE",
    }
    await mock.chaos()
    assert await asyncio.gather(*(mock.outcome(wire, "greet") for wire in CHATS)) == [TEXT] * len(CHATS)
