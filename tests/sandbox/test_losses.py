"""Processes that end when nobody expects it, and callers that leave: who is blamed, and what is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import pytest

from stepwired.errors import Broken, Reason
from stepwired.limits import Limits
from stepwired.processes.worker import Ended, Worker
from stepwired.sandbox.pool import Sandbox
from tests.processes import children, gone

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
]

IDENTITY = "(x) => x"
COUNTING = """() => {
  globalThis.n = (globalThis.n ?? 0) + 1;
  const end = Date.now() + 20;
  while (Date.now() < end);
  return n;
}"""


class Asked:
    """Stands before `Worker.ask`: counts, and fails the first so many with what it is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> None:
        self.count = 0
        waiting = list(errors)
        really_ask = Worker.ask

        async def ask(worker: Worker, question: bytes, *, most_bytes: int) -> bytes:
            self.count += 1
            if waiting:
                raise waiting.pop(0)
            return await really_ask(worker, question, most_bytes=most_bytes)

        monkeypatch.setattr(Worker, "ask", ask)


def _end_all(sandbox: Sandbox) -> None:
    before = sandbox.pids
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert gone(before)


async def test_that_all_processes_died_while_nobody_asked_is_no_fault_of_the_next_call(two: Sandbox) -> None:
    _end_all(two)
    run = two.run()
    assert await run.call("x => x * 2", [[1]]) == [2]
    await run.aclose()


async def test_that_all_processes_died_while_nobody_asked_is_no_fault_of_a_source(two: Sandbox) -> None:
    _end_all(two)
    assert await two.faults(["x => x", "x => x + 1", "1"]) == [None, None, "it is number, not a function"]


async def test_a_process_that_is_lost_over_a_source_is_not_yet_its_fault(
    one: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(monkeypatch, Ended())
    assert await one.faults([IDENTITY]) == [None]
    assert asked.count == 2


async def test_a_source_that_costs_two_processes_is_no_function(one: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch, Ended(), Ended())
    assert await one.faults([IDENTITY]) == ["it cannot be made within its limits"]
    assert asked.count == 2


async def test_a_source_that_takes_all_the_time_of_its_process_is_asked_about_once(
    one: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(monkeypatch)
    found = await one.faults(["(() => { const a = []; a.length = 4e9; a.sort(); })()"])
    assert found == ["it cannot be made within its limits"]
    assert asked.count == 1


async def test_what_a_cancelled_call_made_is_dropped_with_its_run(one: Sandbox) -> None:
    run = one.run()
    calls = asyncio.create_task(run.call(COUNTING, [[]]))
    for _ in range(3):  # then it is with a process: the loop has nothing else to do
        await asyncio.sleep(0)
    calls.cancel()
    await asyncio.wait([calls])
    await run.aclose()
    assert await run.call(COUNTING, [[]]) == [1]  # only to see that nothing is left
    await run.aclose()


async def test_a_call_that_is_cancelled_before_it_is_sent_is_not_made(
    one: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(monkeypatch)
    run = one.run()
    calls = asyncio.create_task(run.call(COUNTING, [[]]))
    await asyncio.sleep(0)  # a free process has been told, and has not run yet
    calls.cancel()
    await asyncio.wait([calls])
    assert await run.call(COUNTING, [[]]) == [1]
    assert asked.count == 1
    await run.aclose()


async def test_what_nobody_expected_fails_its_call_and_no_other(one: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    Asked(monkeypatch, RuntimeError("nobody expected this"))
    run = one.run()
    with pytest.raises(Broken) as caught:
        await asyncio.wait_for(run.call(IDENTITY, [[1]]), 30)
    assert caught.value.reason is Reason.INTERNAL
    assert await asyncio.wait_for(run.call(IDENTITY, [[1]]), 30) == [1]
    await run.aclose()


async def test_what_nobody_expected_at_the_start_is_told(one: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> Worker:
        raise RuntimeError("nobody expected this")

    run = one.run()
    with monkeypatch.context() as patched:
        patched.setattr(Worker, "begin", fails)
        with pytest.raises(Broken):
            await asyncio.wait_for(Sandbox.open(Limits(), processes_count=2), 30)
        _end_all(one)
        with pytest.raises(Broken):
            await asyncio.wait_for(run.call(IDENTITY, [[1]]), 30)
    assert await asyncio.wait_for(run.call(IDENTITY, [[1]]), 30) == [1]
    await run.aclose()


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("point", ["spawning", "handshake", "ready"])
async def test_an_open_that_is_cancelled_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, point: str, count: int
) -> None:
    """Cancelled when so many processes have come to this point."""
    reached = asyncio.Queue[None]()

    def tells(function: Any, *, after: bool) -> Any:
        async def told(*args: Any, **kwargs: Any) -> Any:
            if not after:
                reached.put_nowait(None)
            made = await function(*args, **kwargs)
            if after:
                reached.put_nowait(None)
            return made

        return told

    match point:
        case "spawning":
            monkeypatch.setattr(asyncio, "create_subprocess_exec", tells(asyncio.create_subprocess_exec, after=False))
        case "handshake":
            monkeypatch.setattr(Worker, "handshake", tells(Worker.handshake, after=False))
        case "ready":
            monkeypatch.setattr(Worker, "begin", tells(Worker.begin, after=True))
    before = children()
    opening = asyncio.create_task(Sandbox.open(Limits(), processes_count=3))
    for _ in range(count):
        await reached.get()
    started = children() - before
    opening.cancel()
    await asyncio.wait([opening])
    assert opening.cancelled()
    assert started or point == "spawning"
    assert children() <= before
