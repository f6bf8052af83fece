"""Workers in Python: on the real server, and on one that is not as it should be."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import stepwire
from stepwire import AsyncClient, Client, errors, steps
from tests.program import running
from tests.sdk.conftest import real_server
from tests.sdk.stepping import ALONE, HANG_S, program


@asynccontextmanager
async def serving(worker: stepwire.Worker, api: AsyncClient, name: str) -> AsyncGenerator[asyncio.Task[None]]:
    """Run a worker until its step is known; at the end, drain it."""
    task = asyncio.create_task(worker.serve())
    try:
        await known(api, name)
        yield task
    finally:
        worker.drain()
        async with asyncio.timeout(HANG_S):
            await task


async def known(api: AsyncClient, name: str, *, is_known: bool = True) -> None:
    """Wait until the server knows a worker for a step, or none any more."""
    async with asyncio.timeout(HANG_S):
        while True:
            found = await api.list_steps()
            if any(step.name == name and step.worker_count for step in found) == is_known:
                return
            await asyncio.sleep(0.01)


async def test_a_worker_serves_its_steps_to_runs_of_others(target: str) -> None:
    worker = stepwire.Worker(target, max_in_flight=4, name="mine")

    @worker.step("shout", version="2", input_schema={"type": "string"}, output_schema={"type": "string"})
    def shout(text: str) -> str:
        """The text,
        louder.

        Not told.
        """
        return text.upper() + "!"

    @worker.step("count", description="Counts.")
    async def count(limit: int) -> AsyncGenerator[int]:
        for number in range(limit):
            yield number

    assert shout("a") == "A!"
    async with AsyncClient(target) as api, serving(worker, api, "count"):
        assert await api.collect(steps.map("shout"), ["a", "b"]) == ["A!", "B!"]
        assert await api.collect(["count", lambda x: x * 2], 3) == [0, 2, 4]
        with pytest.raises(errors.InvalidRequest) as caught:
            await api.collect("shout", ["a"])
        assert caught.value.reason == "STEP_INPUT_INVALID"
        [info] = [step for step in await api.list_steps() if step.name == "shout"]
        assert (info.version, info.description, info.provider) == ("2", "The text, louder.", "worker")


async def test_a_worker_works_side_by_side_up_to_its_room_and_is_told_of_cancels(target: str) -> None:
    worker = stepwire.Worker(target, max_in_flight=3)
    together, begun, ended = asyncio.Barrier(3), asyncio.Event(), asyncio.Event()

    @worker.step("meet")
    async def meet(x: Any) -> Any:
        await together.wait()
        return x

    @worker.step("wait")
    async def wait(_: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with AsyncClient(target) as api, serving(worker, api, "wait"):
        assert await api.collect(steps.parallel("meet"), [1, 2, 3]) == [1, 2, 3]
        running = asyncio.create_task(api.collect("wait"))
        await begun.wait()
        running.cancel()
        async with asyncio.timeout(HANG_S):
            await ended.wait()


async def test_a_drained_worker_answers_what_is_open_and_takes_no_more(target: str) -> None:
    worker = stepwire.Worker(target, max_in_flight=2)
    begun, release = asyncio.Event(), asyncio.Event()

    @worker.step("late")
    async def late(x: Any) -> Any:
        begun.set()
        await release.wait()
        return x

    async with AsyncClient(target) as api:
        async with serving(worker, api, "late"):
            running = asyncio.create_task(api.collect("late", 7))
            await begun.wait()
            await asyncio.to_thread(worker.drain)
            await known(api, "late", is_known=False)
            release.set()
            assert await running == [7]
        await worker.serve()  # has nothing left to do


async def test_cancelling_a_worker_ends_it_and_its_functions(target: str) -> None:
    worker = stepwire.Worker(target)
    begun, ended = asyncio.Event(), asyncio.Event()

    @worker.step("stuck")
    async def stuck(_: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with AsyncClient(target) as api:
        task = asyncio.create_task(worker.serve())
        await known(api, "stuck")
        running = asyncio.create_task(api.collect("stuck"))
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        assert ended.is_set()
        running.cancel()
        await asyncio.wait([running])


async def test_a_worker_comes_back_when_its_server_does(tmp_path: Path) -> None:
    async with running(tmp_path, ALONE) as server:
        port = server.address.rpartition(":")[2]
        worker = stepwire.Worker(server.address)
        worker.step("twice")(lambda x: x * 2)
        async with AsyncClient(server.address) as api:
            task = asyncio.create_task(worker.serve())
            await known(api, "twice")
        await server.end(signal.SIGKILL)
    with real_server(tmp_path, int(port)) as again:
        async with AsyncClient(again) as api:
            await known(api, "twice")
            assert await api.collect("twice", 2) == [4]
            worker.drain()
            async with asyncio.timeout(HANG_S):
                await task


TEN_LINES = """
import sys
import stepwire

worker = stepwire.Worker(sys.argv[1], max_in_flight=8)

@worker.step("slow")
async def slow(x):
    print("begun")
    await __import__("asyncio").sleep(0.2)
    return x

print("made")
worker.run()
print("ended")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_the_program_of_a_worker(target: str, number: signal.Signals) -> None:
    with program(TEN_LINES, target) as (child, printed):
        async with AsyncClient(target) as api:
            await known(api, "slow")
            running = asyncio.create_task(api.collect("slow", 1))
            lines = [await asyncio.to_thread(printed.readline) for _ in range(2)]
            assert lines == ["made\n", "begun\n"]
            child.send_signal(number)
            assert await running == [1]
            assert await asyncio.to_thread(printed.readline) == "ended\n"
            assert await asyncio.to_thread(child.wait, HANG_S) == 0
            await known(api, "slow", is_known=False)


async def test_a_second_signal_ends_the_program_at_once(target: str) -> None:
    with program(TEN_LINES.replace("0.2", "3600"), target) as (child, printed):
        async with AsyncClient(target) as api:
            await known(api, "slow")
            running = asyncio.create_task(api.collect("slow", 1))
            assert [await asyncio.to_thread(printed.readline) for _ in range(2)] == ["made\n", "begun\n"]
            child.terminate()
            await known(api, "slow", is_known=False)
            child.terminate()
            assert await asyncio.to_thread(child.wait, HANG_S) == 0
            running.cancel()
            await asyncio.wait([running])


def test_a_dictionary_of_functions_is_served_in_a_line(target: str) -> None:
    source = """
    import sys, stepwire
    stepwire.serve_steps({"add": lambda x: x + 1, "less": lambda x: x - 1}, sys.argv[1], max_in_flight=2)
    """
    with program(source, target) as (child, _), Client(target) as client:
        waiting = threading.Event()
        while not {"add", "less"} <= {step.name for step in client.list_steps()}:
            waiting.wait(0.01)
        assert client.collect(["add", "add", "less"], 1) == [2]
        child.terminate()
        assert child.wait(HANG_S) == 0


async def test_a_value_that_no_message_can_carry_fails_its_own_call_alone(target: str) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()
    calls: list[str] = []
    worker = stepwire.Worker(target, max_in_flight=2)

    @worker.step("late")
    async def late(x: Any) -> Any:
        calls.append("late")
        begun.set()
        await may_end.wait()
        return x

    @worker.step("huge")
    def huge(x: Any) -> str:
        calls.append("huge")
        return "x" * 17_000_000

    async with AsyncClient(target) as api, serving(worker, api, "huge"):
        other = asyncio.create_task(api.collect("late", 1))
        await begun.wait()
        with pytest.raises(errors.StepFailed, match="17000"):
            await api.collect("huge", 1)
        may_end.set()
        assert await other == [1]
        assert calls == ["late", "huge"]


async def test_a_name_that_is_taken_ends_the_worker(target: str) -> None:
    worker = stepwire.Worker(target)
    worker.step("upper")(str)
    with pytest.raises(errors.Conflict) as caught:
        await worker.serve()
    assert caught.value.reason == "STEP_EXISTS"
    with pytest.raises(ValueError, match="there is a step 'upper' already"):
        worker.step("upper")(str)
