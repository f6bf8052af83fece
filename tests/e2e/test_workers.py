from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf import json_format

from stepwire.v1 import step_run_pb2, step_run_pb2_grpc
from stepwired.store.codec.values import json_of_value
from tests.conftest import ROOT
from tests.program import HANG_S, Program, running

NUMBERS = list(range(1000))


@dataclass
class Worker:
    """A worker that runs, written in Go."""

    process: asyncio.subprocess.Process
    calls: list[tuple[str, int, int]] = field(default_factory=list)
    """Function, input and attempt of each call that it got."""

    async def called(self, count: int) -> None:
        """Wait until it has got so many calls."""
        while len(self.calls) < count:
            assert await asyncio.wait_for(self._read(), HANG_S), "the worker ended"

    async def kill(self) -> None:
        self.process.kill()
        while await self._read():
            pass
        await self.process.wait()

    async def _read(self) -> bool:
        """Read what it prints of one call; whether there was one, to its end."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if is_whole := line.endswith(b"\n"):
            function, number, attempt = line.split()
            self.calls.append((function.decode(), int(number), int(attempt)))
        return is_whole


@pytest.fixture(scope="session")
def worker_program() -> Path:
    """Path of the worker that `tests/e2e/worker_go` makes."""
    program = ROOT / ".tools" / "bin" / "e2e-worker"
    if not program.exists():
        pytest.skip("the worker in Go is missing: install Go, then run `make worker`")
    return program


class Workers:
    """Starts workers of one server."""

    def __init__(self, program: Path, address: str) -> None:
        self._command = (str(program), "-server", address)

    @asynccontextmanager
    async def running(self, room: int, holds_from: float = math.inf) -> AsyncGenerator[Worker]:
        """Start a worker, and wait until it is accepted. That number and higher ones it takes, and does not answer."""
        numbers = ("-room", str(room), "-holds-from", str(holds_from))
        process = await asyncio.create_subprocess_exec(
            *self._command, *numbers, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            assert await asyncio.wait_for(process.stdout.readline(), HANG_S) == b"accepted\n"
            yield Worker(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@pytest.fixture
def workers(worker_program: Path, server_alone: Program) -> Workers:
    return Workers(worker_program, server_alone.address)


def asked(name: str, numbers: list[Any]) -> step_run_pb2.RunStepRequest:
    steps = [{"spread": {}}, {"named": name, "max_concurrency": 64}]
    return json_format.ParseDict({"steps": steps, "input": numbers}, step_run_pb2.RunStepRequest())


@asynccontextmanager
async def run(server: Program, request: step_run_pb2.RunStepRequest) -> AsyncGenerator[Any]:
    async with server.channel() as channel:
        call = step_run_pb2_grpc.StepRunServiceStub(channel).RunStep(request)
        try:
            yield call
        finally:
            call.cancel()


async def results(call: Any) -> list[Any]:
    """The values and failures of a run that comes to its end."""
    made: list[Any] = []
    while (event := await asyncio.wait_for(call.read(), HANG_S)) is not grpc.aio.EOF:
        kind = event.WhichOneof("event")
        if kind == "value":
            made.append(json_of_value(event.value))
        elif kind == "failure":
            made.append(event.failure.reason)
    return made


async def test_a_thousand_calls_of_a_worker_in_go_that_is_killed_mid_way_are_each_answered_once(
    server_alone: Program, workers: Workers
) -> None:
    async with workers.running(room=32, holds_from=200) as first, run(server_alone, asked("double", NUMBERS)) as call:
        reading = asyncio.create_task(results(call))
        await first.called(232)  # the 200 below that are answered, and it holds as many as it takes at once
        async with workers.running(room=32) as second:
            await second.called(32)  # the rest of the 64 that the step works on
            await first.kill()
            assert await reading == [2 * number for number in NUMBERS]
            await second.called(800)
            await second.kill()
    held = set(range(200, 232))
    assert sorted(number for _, number, _ in first.calls + second.calls) == sorted([*NUMBERS, *held])
    assert {number for _, number, attempt in second.calls if attempt == 2} == held
    assert all(attempt == 1 for _, number, attempt in first.calls + second.calls if number not in held)


async def test_calls_wait_for_a_worker_in_go_to_come_back(server_alone: Program, workers: Workers) -> None:
    numbers = NUMBERS[:300]
    async with workers.running(room=8, holds_from=100) as first, run(server_alone, asked("double", numbers)) as call:
        reading = asyncio.create_task(results(call))
        await first.called(108)
        await first.kill()
        async with workers.running(room=8):
            assert await reading == [2 * number for number in numbers]


async def test_what_a_killed_worker_has_emitted_stays_and_is_not_made_again(
    server_alone: Program, workers: Workers
) -> None:
    async with workers.running(room=1) as first, run(server_alone, asked("drip", [7])) as call:
        await first.called(1)
        while (await asyncio.wait_for(call.read(), HANG_S)).WhichOneof("event") != "value":
            pass
        async with workers.running(room=1):
            await first.kill()
            assert await results(call) == ["WORKER_LOST"]


async def test_an_input_that_a_worker_in_go_does_not_take_stays_with_its_item(
    server_alone: Program, workers: Workers
) -> None:
    async with workers.running(room=4), run(server_alone, asked("double", [1, "two", 3])) as call:
        assert await results(call) == [2, "STEP_INPUT_INVALID", 6]


async def test_a_server_that_ends_tells_its_workers(worker_program: Path, tmp_path: Path) -> None:
    async with (
        running(tmp_path, "[local]\nenabled = false\n") as server,
        Workers(worker_program, server.address).running(room=1) as worker,
    ):
        assert await server.end() == 0
        assert worker.process.stderr is not None
        said = await asyncio.wait_for(worker.process.stderr.read(), HANG_S)
    assert b"code = Unavailable desc = the server is shutting down" in said
