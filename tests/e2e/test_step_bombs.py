"""Functions and specs that mean harm, sent to the real server: what becomes of them, and of everybody else meanwhile.

`pytest -s` tells the figures; none of them is asserted.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import json_format
from grpc_health.v1 import health_pb2, health_pb2_grpc

from stepwire.v1 import chat_pb2, chat_pb2_grpc, step_run_pb2, step_run_pb2_grpc
from stepwired.limits import MIB
from stepwired.store.codec.values import json_of_value
from tests.e2e.conftest import settings
from tests.fakeprov import Provider, behaviours
from tests.program import HANG_S, Program, running
from tests.rpc.serving import told
from tests.sandbox.test_bombs import INTERRUPTED, KILLED, REFUSED, bomb

STREAMS = 50
TOKEN_S = 0.02

#: Enough for whatever ends by itself, where the others get the quarter of a second that they get everywhere.
PATIENT = "[limits]\nfunction_s = 20.0\n"


@asynccontextmanager
async def streaming(folder: Path, more: str = "") -> AsyncIterator[tuple[Program, grpc.aio.Channel]]:
    """A server with fifty replies under way, which go on as long as this does."""
    endless = behaviours.endless(behaviours.chunk(" token"), TOKEN_S)
    async with (
        Provider(endless) as provider,
        running(folder, settings(provider) + more) as program,
        program.channel() as channel,
    ):
        stub = chat_pb2_grpc.ChatServiceStub(channel)
        calls: list[Any] = [stub.StreamChat(chat_pb2.StreamChatRequest(prompt="hi")) for _ in range(STREAMS)]
        tokens = [0] * STREAMS
        reading = [asyncio.create_task(_read(call, tokens, index)) for index, call in enumerate(calls)]
        try:
            async with asyncio.timeout(HANG_S):
                while not all(tokens):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            before = list(tokens)
            yield program, channel
            async with asyncio.timeout(HANG_S):  # none of them has stopped
                while any(now <= then for now, then in zip(tokens, before, strict=True)):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert not any(task.done() for task in reading)
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*reading, return_exceptions=True)


async def _read(call: Any, tokens: list[int], index: int) -> None:
    async for event in call:
        tokens[index] += event.text_delta.delta_count


class Watch:
    """Asks the server for its health, again and again, and notes how long each answer took."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = health_pb2_grpc.HealthStub(channel)
        self._took_ms: list[float] = []
        self._task = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        while True:
            begun_s = time.monotonic()
            await self._stub.Check(health_pb2.HealthCheckRequest(), timeout=HANG_S)
            self._took_ms.append(1000 * (time.monotonic() - begun_s))
            await asyncio.sleep(0.005)

    def tell(self, what: str) -> None:
        """Print what was seen since the last time."""
        took, self._took_ms = sorted(self._took_ms), []
        assert took
        p99 = took[int(0.99 * (len(took) - 1))]
        print(
            f"\n{what}: {len(took)} health checks, p50 {statistics.median(took):.1f} ms, p99 {p99:.1f}, "
            f"worst {took[-1]:.1f}"
        )

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def watching(channel: grpc.aio.Channel) -> AsyncIterator[Watch]:
    watch = Watch(channel)
    try:
        await asyncio.sleep(1)
        watch.tell(f"{STREAMS} streams alone")
        yield watch
    finally:
        await watch.stop()


async def mapped(channel: grpc.aio.Channel, body: str, values: Sequence[int]) -> list[Any]:
    """What becomes of each value: it itself, or the limit that was crossed, or the reason."""
    steps = [{"map": {"step": {"javascript": bomb(body)}}}]
    request = json_format.ParseDict({"steps": steps, "input": values}, step_run_pb2.RunStepRequest())
    stub: Any = step_run_pb2_grpc.StepRunServiceStub(channel)
    made: list[Any] = []
    async for event in stub.RunStep(request, timeout=HANG_S):
        if event.HasField("value"):
            made.append(json_of_value(event.value))
        elif event.HasField("failure"):
            made.append(event.failure.metadata.get("limitName") or event.failure.reason)
    return made


@pytest.mark.timeout(180)  # dozens of calls that each take all the time they have
@pytest.mark.parametrize(
    ("bombs", "more"), [({**INTERRUPTED, **KILLED}, ""), (REFUSED, PATIENT)], ids=["endless", "too large"]
)
async def test_functions_that_mean_harm_cost_their_own_calls_while_replies_flow(
    tmp_path: Path, bombs: Mapping[str, tuple[str, Any]], more: str
) -> None:
    async with streaming(tmp_path, more) as (program, channel), watching(channel) as watch:
        children = len(program.children("stepwired.sandbox"))
        for name, (body, expected) in bombs.items():
            assert await mapped(channel, body, [0, 1, 2]) == [0, expected, 2], name
        watch.tell("bombs one after the other")
        names = [name for name in bombs if name not in KILLED]
        at_once = await asyncio.gather(*(mapped(channel, bombs[name][0], [0, 1, 2]) for name in names))
        assert {name: made[::2] for name, made in zip(names, at_once, strict=True)} == {name: [0, 2] for name in names}
        watch.tell("bombs all at once")
        assert await mapped(channel, "return x", [0, 1, 2]) == [0, 1, 2]
        assert len(program.children("stepwired.sandbox")) == children


def rss_bytes(pid: int) -> int:
    """The most memory that a process ever had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


HUNDRED: list[dict[str, Any]] = [{"javascript": "(x) => Array(100).fill(x)"}, {"spread": {}}]


@pytest.fixture(scope="module")
async def bounded(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Program]:
    """A server on which a run may make as many values as a test has time for."""
    folder = tmp_path_factory.mktemp("bounded")
    async with running(folder, "[local]\nenabled = false\n[limits]\nstep_values = 20_000\n") as program:
        yield program


@pytest.mark.parametrize("is_seen", [True, False], ids=["seen", "filtered out"])
@pytest.mark.parametrize("name", ["a function and spread", "composes", "side by side"])
async def test_a_hundred_copies_five_times_over_are_refused_in_little_memory(
    bounded: Program, name: str, is_seen: bool
) -> None:
    steps: list[dict[str, Any]] = {
        "a function and spread": HUNDRED * 5,
        "composes": [{"compose": {"steps": HUNDRED}}] * 5,
        "side by side": [HUNDRED[0], {"spread": {}, "max_concurrency": 16, "as_completed": True}] * 5,
    }[name]
    if not is_seen:
        steps = [*steps, {"filter": {"where": {"javascript": "() => false"}}}]
    request = json_format.ParseDict({"steps": steps, "input": "x" * 100}, step_run_pb2.RunStepRequest())
    before = rss_bytes(bounded.process.pid)
    results = 0
    begun_s = last_s = time.monotonic()

    async def read(stub: Any) -> None:
        nonlocal results, last_s
        async for event in stub.RunStep(request, timeout=HANG_S):
            results += event.HasField("value")
            last_s = time.monotonic()

    async with bounded.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(step_run_pb2_grpc.StepRunServiceStub(channel))
    ended_s = time.monotonic()
    more = rss_bytes(bounded.process.pid) - before
    error = told(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STEP_LIMIT_EXCEEDED")
    assert error.facts["limitName"] == "step_values"
    assert results <= 20_000
    assert more < 128 * MIB
    since = f"{1000 * (ended_s - last_s):.1f} ms after the last of {results} results" if is_seen else "nothing sent"
    print(f"\n{name}: refused after {ended_s - begun_s:.2f} s, {since}, +{more / MIB:.1f} MiB")
