"""The TypeScript client's guide, on the local models, and its workers, which serve callers in Python."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from stepwire import AsyncClient, StageEvent, errors, steps
from stepwire.v1 import step_run_pb2
from tests.clients.test_typescript import FOLDER, node, ran
from tests.clients.words import World, world
from tests.e2e.conftest import data_dir, server
from tests.program import HANG_S, Program, data_dir_with_models
from tests.sdk.refusing import refuse
from tests.sdk.scripted import serve

__all__ = ["data_dir", "node", "server"]

V = step_run_pb2

GUIDE = Path(os.environ.get("STEPWIRE_REFERENCE") or "nowhere", "geppetto-javascript-api.md").absolute()


#: Settings of a server that has, beside the local models, a scripted one that looks at pictures.
BESIDE = '[endpoints.fake]\nbase_url = "{base_url}"\n[models.eyes]\nendpoint = "fake"\nimages = true\n'


@pytest.fixture
async def both(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[World]:
    """A server on the local models and on a scripted one."""
    async with world(data_dir_with_models(tmp_path_factory), BESIDE) as made:
        yield made


async def test_the_guides_calls_work_in_programs_of_our_own(node: Path, server: Program) -> None:
    environ = {"STEPWIRE_ADDRESS": server.address}
    status, said = await ran(node, "--test", "--test-reporter=spec", "test/guide/calls.test.ts", environ=environ)
    assert status == 0, said


if GUIDE.exists():  # else there is nothing to run, which is no test left out

    async def test_the_guides_blocks_run_as_they_stand(node: Path, both: World, tmp_path: Path) -> None:
        environ = {**both.environ, "STEPWIRE_REFERENCE": str(GUIDE.parent)}
        status, said = await ran(node, FOLDER / "guide" / "run.ts", environ=environ, folder=tmp_path)
        print(said)  # the table, for `pytest -rP`
        assert (status, said.count("\n|")) == (0, 43)  # the line below the head, and 42 blocks


@asynccontextmanager
async def worker(node: Path, address: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run the example of a worker; one that has not ended by then is killed."""
    process = await asyncio.create_subprocess_exec(node, FOLDER / "examples" / "worker.ts", address)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def known(api: AsyncClient, name: str, *, is_known: bool = True) -> None:
    """Wait until the server knows a worker for a step, or none any more."""
    async with asyncio.timeout(HANG_S):
        while True:
            found = await api.list_steps()
            if any(step.name == name and step.worker_count for step in found) == is_known:
                return
            await asyncio.sleep(0.01)


async def test_a_python_caller_runs_a_pipeline_that_a_worker_in_typescript_serves(node: Path, server: Program) -> None:
    async with worker(node, server.address) as process, AsyncClient(server.address) as api:
        await known(api, "wait")
        assert await api.collect(["words", "shout", lambda text: f"<{text}>"], "hello dear world") == [
            "<HELLO!>",
            "<DEAR!>",
            "<WORLD!>",
        ]
        assert await api.collect([steps.parallel("wait", max_concurrency=8)], [1] * 8) == ["waited 1 ms"] * 8
        with pytest.raises(errors.StepFailed):
            await api.collect("words", 7)  # which is no text
        async with aclosing(api.run_events("wait", 600_000)) as events:
            async for event in events:
                if isinstance(event, StageEvent):  # it was begun
                    break
            process.send_signal(signal.SIGTERM)
            await known(api, "wait", is_known=False)
        assert await asyncio.wait_for(process.wait(), HANG_S) == 0  # for nobody waits any more


async def test_a_worker_in_typescript_tries_a_server_again_that_refuses_ends_or_is_silent(node: Path) -> None:
    came: list[str] = []
    answered: list[Any] = []
    served = asyncio.Event()

    async def changing(requests: AsyncIterator[Any], context: Any) -> AsyncGenerator[V.ServeStepsResponse]:
        assert (await anext(requests)).WhichOneof("kind") == "register"
        came.append("register")
        if len(came) == 1:
            await refuse(context, grpc.StatusCode.UNAVAILABLE, reason="SERVER_DRAINING")
        accepted = V.WorkerAccepted(worker_id="w1")
        accepted.heartbeat_interval.FromMilliseconds(10 if len(came) < 4 else 60_000)
        yield V.ServeStepsResponse(accepted=accepted)
        if len(came) == 2:
            return
        if len(came) == 3:  # and now nothing, until the worker has had enough
            await asyncio.Event().wait()
        call = V.Call(call_id="c1", function="shout")
        call.input.string_value = "a"
        yield V.ServeStepsResponse(call=call)
        async for request in requests:
            if request.WhichOneof("kind") == "reply":
                answered.append(request.reply.done.outputs[0].string_value)
                served.set()
            elif request.WhichOneof("kind") == "drain":
                return

    async with serve() as server:
        server.on["ServeSteps"] = changing
        async with worker(node, server.target) as process:
            await asyncio.wait_for(served.wait(), HANG_S)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), HANG_S) == 0
    assert (len(came), answered) == (4, ["A!"])


async def test_a_worker_in_typescript_ends_when_its_steps_are_refused(node: Path) -> None:
    async def refusing(requests: AsyncIterator[Any], context: Any) -> AsyncGenerator[V.ServeStepsResponse]:
        await refuse(context, grpc.StatusCode.ALREADY_EXISTS, reason="STEP_EXISTS")
        yield V.ServeStepsResponse()

    async with serve() as server:
        server.on["ServeSteps"] = refusing
        async with worker(node, server.target) as process:
            assert await asyncio.wait_for(process.wait(), HANG_S) == 1
