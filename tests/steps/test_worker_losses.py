"""Calls whose worker is lost: another does them, in their turn, until they are taken for the cause."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from stepwired.errors import Failure, Reason
from tests.steps.working import FACTS, LIMITS, answer, asked, calling, everything, joined, soon, turns, workers_of


async def test_a_lost_call_of_which_nothing_came_runs_again_on_another_worker() -> None:
    workers = workers_of()
    first, second = await joined(workers), await joined(workers)
    [call] = calling(workers, "in")
    await turns()
    lost, other = (first, second) if first.line.open_count else (second, first)
    assert [each.facts.attempt for each in asked(lost)] == [1]
    workers.leave(lost)
    await turns()
    [again] = asked(other)
    assert (again.value, again.facts.attempt) == ("in", 2)
    answer(other, again, "out")
    assert await soon(call) == ["out"]


async def test_a_lost_call_of_which_something_came_fails_behind_it() -> None:
    workers = workers_of()
    first, second = await joined(workers), await joined(workers)
    [call] = calling(workers, "in")
    await turns()
    lost, other = (first, second) if first.line.open_count else (second, first)
    [told] = asked(lost)
    lost.line.output(told.call_id, "part", 8)
    workers.leave(lost)
    part, failure = await soon(call)
    assert part == "part"
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.is_transient) == (Reason.WORKER_LOST, True)
    assert not asked(other)


async def test_a_call_that_loses_worker_after_worker_is_taken_for_the_cause() -> None:
    workers = workers_of()
    await joined(workers)
    [call] = calling(workers, "bomb")
    await turns()
    attempts = []
    for _ in range(3):
        [service] = workers._services.values()
        [worker] = service.workers
        attempts += [each.facts.attempt for each in asked(worker)]
        workers.leave(worker)
        await joined(workers)
        await turns()
    [failure] = await soon(call)
    assert isinstance(failure, Failure)
    assert failure.reason is Reason.WORKER_LOST
    assert attempts == [1, 2, 3]


async def test_a_lost_call_goes_before_those_that_wait_for_their_first_worker() -> None:
    workers = workers_of()
    first, second = await joined(workers), await joined(workers)
    calls = calling(workers, "a", "b")
    await turns()
    calls += calling(workers, "c")
    await turns()
    taken = asked(second)
    workers.leave(first)
    await turns()
    answer(second, taken[0])
    [next_one] = asked(second)
    assert next_one.facts.attempt == 2
    answer(second, next_one)
    [last] = asked(second)
    assert last.value == "c"
    answer(second, last)
    await soon(asyncio.gather(*calls))


async def test_calls_wait_for_the_last_worker_to_come_back() -> None:
    workers = workers_of()
    worker = await joined(workers)
    [running] = calling(workers, 0)
    await turns()
    workers.leave(worker)
    [late] = calling(workers, 1)
    await turns()
    back = await joined(workers, room=2)
    await turns()
    for call in asked(back):
        answer(back, call, call.value)
    assert [await soon(call) for call in (running, late)] == [[0], [1]]


async def test_where_none_comes_back_calls_fail_and_say_to_try_again_until_the_step_is_forgotten() -> None:
    workers = workers_of(replace(LIMITS, worker_known_s=1000))
    worker = await joined(workers)
    [call] = calling(workers, 0)
    await turns()
    workers.leave(worker)
    [failure] = await soon(call)
    [at_once] = await soon(everything(workers, 1))
    for each in (failure, at_once):
        assert isinstance(each, Failure)
        assert (each.reason, each.retry_after_s) == (Reason.NO_WORKER, 1.0)
    assert workers._waiting_count == 0
    assert await workers.infos() == []
    await joined(workers)
    assert [info.worker_count for info in await workers.infos()] == [1]


async def test_the_attempts_of_a_retry_and_of_lost_workers_add_up_and_time_goes_by() -> None:
    workers = workers_of()
    first, second = await joined(workers), await joined(workers)
    call = asyncio.create_task(everything(workers, 0, facts=replace(FACTS, attempt=4, time_left_s=60.0)))
    await turns()
    lost, other = (first, second) if first.line.open_count else (second, first)
    workers.leave(lost)
    await turns()
    [again] = asked(other)
    assert again.facts.attempt == 5
    assert again.facts.time_left_s is not None
    assert 0 < again.facts.time_left_s < 60
    answer(other, again)
    assert await soon(call) == []
