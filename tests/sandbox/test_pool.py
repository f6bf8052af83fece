"""The processes that run functions: shared fairly, replaced when they end, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from stepwired.errors import Broken, Reason, Unavailable
from stepwired.limits import Limits
from stepwired.processes.worker import Worker
from stepwired.sandbox import wire
from stepwired.sandbox.pool import Sandbox
from stepwired.sandbox.turns import Job, Turns
from tests.processes import gone, is_there
from tests.sandbox.outcomes import short

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
]

#: About 20 ms of work for each call.
SLOW = "(x) => { const end = Date.now() + 20; while (Date.now() < end); return x; }"
IDENTITY = "(x) => x"


async def test_the_processes_are_there_from_the_start_and_gone_at_the_end() -> None:
    sandbox = await Sandbox.open(Limits(), processes_count=2)
    pids = sandbox.pids
    assert len(pids) == 2
    assert all(map(is_there, pids))
    await sandbox.close()
    await sandbox.close()
    assert sandbox.pids == []
    assert gone(pids)


async def test_a_process_that_is_killed_costs_no_call_its_value(two: Sandbox) -> None:
    run = two.run()
    calls = asyncio.create_task(run.call(SLOW, [[x] for x in range(20)]))
    before = two.pids
    await _asked(two)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert await calls == list(range(20))
    assert await run.call(IDENTITY, [[1]]) == [1]
    assert gone(before)
    await run.aclose()


async def test_a_process_that_was_killed_while_nobody_asked_is_replaced(one: Sandbox) -> None:
    run = one.run()
    assert await run.call(IDENTITY, [[1]]) == [1]
    [pid] = one.pids
    os.kill(pid, signal.SIGKILL)
    assert gone([pid])
    assert await run.call(IDENTITY, [[2]]) == [2]
    assert one.pids != [pid]
    await run.aclose()


async def test_the_functions_of_other_runs_are_made_again_in_the_new_process(one: Sandbox) -> None:
    run, other = one.run(), one.run()
    counting = "() => { globalThis.n = (globalThis.n ?? 0) + 1; return n; }"
    assert await other.call(counting, [[], []]) == [1, 2]
    assert short(await run.call("() => { const a = []; a.length = 4e9; a.sort(); }", [[]])) == ["function_s"]
    assert await other.call(counting, [[]]) == [1]
    await run.aclose()
    await other.aclose()


async def test_what_a_run_keeps_is_dropped_with_it(one: Sandbox) -> None:
    counting = "() => { globalThis.n = (globalThis.n ?? 0) + 1; return n; }"
    run = one.run()
    assert await run.call(counting, [[]]) == [1]
    assert await run.call(counting, [[]]) == [2]
    await run.aclose()
    await run.aclose()
    assert await run.call(counting, [[]]) == [1]  # only to see that nothing is left
    await run.aclose()


async def test_a_long_batch_does_not_hold_up_others(one: Sandbox) -> None:
    long, short_one = one.run(), one.run()
    calls = asyncio.create_task(long.call(SLOW, [[x] for x in range(50)]))
    await _asked(one)
    assert await short_one.call(IDENTITY, [[1]]) == [1]
    assert not calls.done()
    calls.cancel()
    await asyncio.wait([calls])
    assert await long.call(IDENTITY, [[3]]) == [3]


async def test_a_run_with_many_calls_at_once_does_not_hold_up_others(one: Sandbox) -> None:
    many, single = one.run(), one.run()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(many.call(SLOW, [[x]])) for x in range(30)]
        await _asked(one)
        assert await single.call(IDENTITY, [[1]]) == [1]
        assert sum(task.done() for task in tasks) < 10
        for task in tasks:
            task.cancel()


async def test_calls_at_once_of_one_run_use_all_processes(two: Sandbox) -> None:
    run = two.run()
    made = await asyncio.gather(
        *(run.call("() => { globalThis.x ??= Math.random(); return x; }", [[]] * 3000) for _ in range(4))
    )
    assert len({value for values in made for value in values}) == 2
    await run.aclose()


async def test_calls_one_after_the_other_stay_with_their_process(two: Sandbox) -> None:
    run = two.run()
    made = [await run.call("() => { globalThis.x ??= Math.random(); return x; }", [[]]) for _ in range(10)]
    assert len({value for values in made for value in values}) == 1
    await run.aclose()


async def test_a_call_that_is_cancelled_leaves_its_process_to_others(one: Sandbox) -> None:
    run = one.run()
    before = one.pids
    for _ in range(5):
        calls = asyncio.create_task(run.call("() => { for (;;); }", [[], []]))
        await _asked(one)
        calls.cancel()
        await asyncio.wait([calls])
        assert calls.cancelled()
    assert await run.call(IDENTITY, [[1]]) == [1]
    assert one.pids == before
    await run.aclose()


async def test_what_is_asked_at_the_end_is_refused(one: Sandbox) -> None:
    run = one.run()
    under_way = [asyncio.create_task(run.call(SLOW, [[1]] * 10)) for _ in range(5)]
    await _asked(one)
    await one.close()
    for call in under_way:
        with pytest.raises(Unavailable) as caught:
            await call
        assert caught.value.reason is Reason.SERVER_DRAINING
    with pytest.raises(Unavailable):
        await run.call(IDENTITY, [[1]])
    with pytest.raises(Unavailable):
        await one.faults([IDENTITY])


async def test_where_no_process_can_be_started_it_says_so_and_tries_again(
    one: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> Worker:
        raise OSError("no more processes")

    run = one.run()
    with monkeypatch.context() as patched:
        patched.setattr(Worker, "begin", fails)
        os.kill(one.pids[0], signal.SIGKILL)
        with pytest.raises(Broken) as caught:
            await run.call(IDENTITY, [[1]])
        assert caught.value.reason is Reason.INTERNAL
        with pytest.raises(Broken):
            await Sandbox.open(Limits(), processes_count=2)
    assert await run.call(IDENTITY, [[1]]) == [1]
    await run.aclose()


async def test_a_process_that_does_not_answer_is_replaced(one: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire.Budget, "wall_s", 0.5)
    run = one.run()
    [pid] = one.pids
    os.kill(pid, signal.SIGSTOP)
    assert await run.call(IDENTITY, [[1], [2]]) == [1, 2]
    assert gone([pid])
    await run.aclose()


async def test_a_process_can_open_nothing_and_knows_nothing(one: Sandbox) -> None:
    [pid] = one.pids
    limits = _limits(pid)
    for name in ("Max open files", "Max file size", "Max processes", "Max core file size"):
        assert limits[name] == ["0", "0"], name
    assert int(limits["Max address space"][1]) < 1024**3
    assert not [each for each in _read(pid, "environ").split("\0") if "KEY" in each or "TOKEN" in each]


async def test_work_is_handed_out_one_piece_of_each_run_in_turn() -> None:
    turns = Turns()
    jobs = [Job(wire.Ask(run), -1) for run in (1, 1, 1, 2, 3)]
    for job in jobs:
        turns.put(job)
    jobs[3].answer.cancel()
    taken = [await turns.take(0) for _ in range(4)]
    assert [jobs.index(job) for job in taken if job] == [0, 4, 1, 2]


async def test_a_job_goes_home_if_home_is_free_and_else_to_who_is_free_longest() -> None:
    turns = Turns()
    takers = []
    for place in range(3):
        takers.append(asyncio.create_task(turns.take(place)))
        await asyncio.sleep(0)
    jobs = [Job(wire.Ask(1), 1), Job(wire.Ask(2), 1), Job(wire.Ask(3), -1)]
    for job in jobs:
        turns.put(job)
    assert await asyncio.gather(*takers) == [jobs[1], jobs[0], jobs[2]]


async def _asked(sandbox: Sandbox) -> None:
    """Wait until a question is with a process: the loop has nothing else to do."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert sandbox.pids


def _read(pid: int, what: str) -> str:
    return Path(f"/proc/{pid}/{what}").read_text()


def _limits(pid: int) -> dict[str, list[str]]:
    return {line[:25].strip(): line[25:].split()[:2] for line in _read(pid, "limits").splitlines()[1:]}
