"""Which worker gets a call, and when: room, turns, queues and limits, whatever happens."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

from stepwired.errors import Failure, Reason
from stepwired.events import Json
from stepwired.steps.line import Asked, Dropped
from stepwired.steps.worker import Worker
from tests.steps.working import LIMITS, PATIENT, answer, asked, calling, everything, joined, soon, turns, workers_of


async def test_a_worker_gets_no_more_calls_at_once_than_it_takes_and_the_others_in_their_order() -> None:
    workers = workers_of()
    worker = await joined(workers, room=2)
    calls = calling(workers, 0, 1, 2, 3, 4)
    await turns()
    taken = asked(worker)
    assert [call.value for call in taken] == [0, 1]
    answer(worker, taken[1], "one")
    [third] = asked(worker)
    assert third.value == 2
    answer(worker, taken[0], "zero")
    answer(worker, third, "two")
    for call in asked(worker):
        answer(worker, call, call.value)
    assert await soon(asyncio.gather(*calls)) == [["zero"], ["one"], ["two"], [3], [4]]
    assert worker.line.open_count == 0


async def test_the_worker_with_the_least_to_do_is_chosen_and_of_equals_each_in_turn() -> None:
    workers = workers_of()
    large, small = await joined(workers, room=4), await joined(workers, room=2)
    calls = calling(workers, *range(6))
    await turns()
    assert [call.value for call in asked(large)] == [0, 2, 4, 5]
    assert [call.value for call in asked(small)] == [1, 3]
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert large.line.open_count == small.line.open_count == 0


async def test_a_call_waits_longest_first_across_the_steps_of_a_worker() -> None:
    workers = workers_of()
    worker = await joined(workers, "f", "g")
    calls = calling(workers, 0)
    await turns()
    calls += calling(workers, 1, name="g")
    await turns()
    calls += calling(workers, 2)
    order = []
    for _ in range(3):
        await turns()
        [call] = asked(worker)
        order.append((call.function, call.value))
        answer(worker, call)
    assert order == [("f", 0), ("g", 1), ("f", 2)]
    await soon(asyncio.gather(*calls))


async def test_beyond_the_calls_that_may_wait_more_are_refused_at_once() -> None:
    workers = workers_of(replace(PATIENT, worker_calls_waiting=2))
    worker = await joined(workers)
    calls = calling(workers, 0, 1, 2)
    await turns()
    [refused] = await soon(everything(workers, 3))
    assert isinstance(refused, Failure)
    assert (refused.reason, refused.metadata) == (Reason.CONCURRENCY_LIMITED, {"limit": "2"})
    calls[1].cancel()
    await asyncio.gather(calls[1], return_exceptions=True)
    calls += calling(workers, 4)
    await turns()
    for _ in range(3):
        [call] = asked(worker)
        answer(worker, call, call.value)
    assert await soon(asyncio.gather(*calls, return_exceptions=True))
    assert calls[3].result() == [4]


async def test_a_worker_that_retires_keeps_its_calls_and_gets_no_more() -> None:
    workers = workers_of()
    leaving, staying = await joined(workers), await joined(workers)
    [first] = calling(workers, 0)
    await turns()
    if not leaving.line.open_count:
        leaving, staying = staying, leaving
    [told] = asked(leaving)
    workers.retire(leaving)
    workers.retire(leaving)
    calls = [first, *calling(workers, 1, 2)]
    await turns()
    answer(leaving, told, "kept")
    assert not asked(leaving)
    for value in (1, 2):
        [call] = asked(staying)
        assert call.value == value
        answer(staying, call, value)
    assert await soon(asyncio.gather(*calls)) == [["kept"], [1], [2]]
    workers.leave(leaving)


async def test_whatever_happens_each_call_is_answered_once_and_nothing_is_left() -> None:
    """A thousand calls over workers that come, go, drain and answer in any order, some calls cancelled in any state."""
    chance = random.Random(7)
    workers = workers_of()
    there = [await joined(workers, room=chance.randint(1, 5)) for _ in range(3)]
    calls = dict(enumerate(calling(workers, *range(1000))))
    known: dict[Worker, dict[str, Asked]] = {worker: {} for worker in there}
    runs: dict[Json, int] = {}
    cancelled: set[int] = set()
    while not all(call.done() for call in calls.values()):
        await asyncio.sleep(0)
        worker = chance.choice(there)
        while (told := worker.line.unsent()) is not None:
            if isinstance(told, Dropped):
                known[worker].pop(told.call_id)
            else:
                known[worker][told.call_id] = told
                runs[told.value] = runs.get(told.value, 0) + 1
                assert len(known[worker]) <= worker.registration.max_in_flight
        happening = chance.random()
        if known[worker] and happening < 0.9:
            told = known[worker].pop(chance.choice(list(known[worker])))
            answer(worker, told, told.value)
        elif happening < 0.94:
            number = chance.randrange(1000)
            if not calls[number].done():
                calls[number].cancel()
                cancelled.add(number)
        elif happening < 0.96:
            workers.retire(worker)
        if happening > 0.98 or (worker.is_leaving and not known[worker]):
            workers.leave(worker)
            there.remove(worker)
            there.append(await joined(workers, room=chance.randint(1, 5)))
            known[there[-1]] = {}
    outcomes = {number: await asyncio.gather(call, return_exceptions=True) for number, call in calls.items()}
    whole = [number for number, [outcome] in outcomes.items() if outcome == [number]]
    lost = [number for number, [outcome] in outcomes.items() if isinstance(outcome, list) and outcome != [number]]
    assert len(whole) + len(lost) + len(cancelled) >= 1000
    # Only what lost three workers may fail.
    assert all(runs[number] == LIMITS.worker_attempts for number in lost)
    assert len(whole) > 800
    assert workers._waiting_count == 0
    assert all(worker.line.open_count == 0 for worker in there)
