"""Programs of other people's making call the HTTP front unmodified: their clients, against a scripted provider."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import Scripted, settings
from tests.fakeprov import Exchange, Provider
from tests.fakeprov.behaviours import DONE, chunk, embeddings, reply, stalled, status, stream, truncated, usage
from tests.program import HANG_S, Program, running

HERE = Path(__file__).parent / "callers"
TOOLS = ROOT / ".tools/callers"
PYTHON, NODE = TOOLS / "venv/bin/python", ROOT / ".tools/bin/node"

#: How each is started, behind which come the address, the model and what to do.
COMMANDS: dict[str, list[Path | str]] = {
    "openai-python": [PYTHON, HERE / "openai_python.py"],
    "langchain": [PYTHON, HERE / "langchain_python.py"],
    "llm": [PYTHON, HERE / "llm_cli.py"],
    "openai-npm": [NODE, TOOLS / "openai_npm.mjs"],
    "ai-sdk": [NODE, TOOLS / "ai_sdk.mjs"],
    "ai-sdk-openai": [NODE, TOOLS / "ai_sdk.mjs"],
}
CALL = {"index": 0, "id": "call1", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
ASKING = stream(chunk(tool_calls=[CALL]) + chunk(finish="tool_calls") + usage() + DONE)
HANGING = stalled()
LIMIT = {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}


#: Set when a request that is never answered in full has been hung up on.
HUNG_UP = asyncio.Event()


async def answer(exchange: Exchange) -> None:
    """What the provider does: what the last message asks for."""
    asked = exchange.request.json()
    if exchange.request.path.endswith("/embeddings"):
        behave = embeddings(3)
    elif asked["messages"][-1]["role"] == "tool":
        behave = reply(["It is ", "sunny."])
    else:
        said = asked["messages"][-1]["content"]
        text = said if isinstance(said, str) else said[0]["text"]
        behave = {
            "hang": HANGING,
            "cut": truncated(),
            "limit": status(429, {"retry-after": "1"}, LIMIT),
            "weather": ASKING,
            "as json": reply(['{"city": "Oslo", ', '"degrees": 7}']),
        }.get(text, reply())
    try:
        await behave(exchange)
    finally:
        if behave is HANGING:
            HUNG_UP.set()
    exchange.finish()  # so that no test leaves a connection behind


@pytest.fixture(scope="module")
async def scripted(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Scripted]:
    if not (TOOLS / "installed").exists():
        pytest.skip("callers are missing: they take Node, npm and the network; `make callers` says what is wrong")
    folder = tmp_path_factory.mktemp("callers")
    async with Provider(answer) as provider, running(folder, settings(provider)) as program:
        yield Scripted(program, provider)


@asynccontextmanager
async def started(caller: str, program: Program, model: str, what: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    kind = ["stock"] if caller == "ai-sdk-openai" else []
    process = await asyncio.create_subprocess_exec(
        *COMMANDS[caller], program.http, model, what, *kind,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def said(caller: str, program: Program, what: str, model: str = "fake") -> Any:
    """What a caller makes of what it asks for."""
    async with started(caller, program, model, what) as process:
        out, error = await asyncio.wait_for(process.communicate(b""), HANG_S)
    assert process.returncode == 0, error.decode()
    return json.loads(out)


TEXT = {"text": "Hello", "usage": [3, 2], "finish": "stop"}
WEATHER = {"name": "get_weather", "arguments": {"city": "Oslo"}, "text": "It is sunny."}
DONE_WELL: dict[str, Any] = {
    "plain": TEXT,
    "stream": TEXT,
    "tools": WEATHER,
    "tools_streamed": WEATHER,
    "structured": {"city": "Oslo", "degrees": 7},
    "embed": {"count": 2, "dimensions": 3},
    "models": {"listed": True, "one": "fake"},
}
#: What a caller has no call for.
MISSING = {
    ("langchain", "models"),
    ("llm", "models"),
    ("llm", "embed"),
    ("ai-sdk", "models"),
    ("ai-sdk-openai", "models"),
}
#: What the command line of llm shows of it.
SHOWN = {"called": True, "text": "It is sunny."}


def pairs(whats: Iterable[str]) -> list[tuple[str, str]]:
    return [(caller, what) for caller in COMMANDS for what in whats if (caller, what) not in MISSING]


@pytest.mark.parametrize(("caller", "what"), pairs(DONE_WELL))
async def test_a_caller_gets_what_it_asks_for(caller: str, what: str, scripted: Scripted) -> None:
    expected = DONE_WELL[what]
    if caller == "llm" and expected is TEXT:
        expected = {"text": "Hello", "usage": [3, 2]}
    elif caller == "llm" and expected is WEATHER:
        expected = SHOWN
    elif caller == "langchain" and what == "embed":
        expected = expected | {"count": 1002}
    assert await said(caller, scripted.program, what) == expected


#: Which class of its own each caller raises.
RAISED = {
    "openai-python": {"bad_model": "NotFoundError", "limited": "RateLimitError", "cut": "APIError"},
    "langchain": {"bad_model": "OpenAIModelNotFoundError", "limited": "OpenAIRateLimitError", "cut": "APIError"},
    "llm": {"bad_model": "exit", "limited": "exit", "cut": "exit"},
    "openai-npm": {"bad_model": "NotFoundError", "limited": "RateLimitError", "cut": "APIError"},
    "ai-sdk": {"bad_model": "AI_APICallError", "limited": "AI_APICallError", "cut": "AI_StreamProviderError"},
    "ai-sdk-openai": {"bad_model": "AI_APICallError", "limited": "AI_APICallError", "cut": "AI_StreamProviderError"},
}
TOLD = {
    "bad_model": ("model_not_found", "there is no model 'no-such-model'"),
    "limited": ("rate_limit_exceeded", "the rate limit of fake for fake was reached"),
    "cut": ("provider_stream_truncated", "fake broke off in the middle of its answer"),
}


@pytest.mark.parametrize(("caller", "what"), pairs(TOLD))
async def test_a_caller_raises_its_own_error_that_says_why(caller: str, what: str, scripted: Scripted) -> None:
    error = await said(caller, scripted.program, what)
    code, message = TOLD[what]
    assert error["error"] == RAISED[caller][what]
    assert message in error["message"]
    assert error["code"] == (None if caller == "llm" else code)


@pytest.mark.parametrize("caller", COMMANDS)
async def test_a_caller_that_stops_amid_a_reply_closes_the_providers_socket(caller: str, scripted: Scripted) -> None:
    HUNG_UP.clear()
    async with started(caller, scripted.program, "fake", "abort") as process:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), HANG_S)
        assert json.loads(line or b"null") == "aborted", await process.communicate()
        await asyncio.wait_for(HUNG_UP.wait(), HANG_S)
        assert process.returncode is None  # it is not its end that closed them


@pytest.mark.parametrize("what", ["plain", "stream", "embed"])
@pytest.mark.parametrize("caller", COMMANDS)
async def test_a_caller_is_answered_by_the_models_that_come_along(caller: str, what: str, server: Program) -> None:
    if (caller, what) in MISSING:
        return
    made = await said(caller, server, what, "smollm2")
    if what == "embed":
        assert made == {"count": 2, "dimensions": 384}
    else:
        assert made["text"].strip()
        assert all(count > 0 for count in made["usage"])
