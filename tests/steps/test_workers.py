from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

import pytest

from stepwired.errors import Conflict, Failure, InvalidRequest, Reason
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps.line import Asked, Dropped
from stepwired.steps.remote import Facts
from stepwired.steps.worker import Registration, Worker, WorkerStep
from stepwired.steps.workers import Workers

T = TypeVar("T")

LIMITS = Limits(worker_wait_s=0.05, worker_known_s=0.05)
PATIENT = Limits(worker_wait_s=1000)
FACTS = Facts("run", "steps[0]", (0,))


def is_taken(name: str) -> bool:
    return name == "upper"


def workers_of(limits: Limits = PATIENT) -> Workers:
    return Workers(limits, is_taken)


async def joined(workers: Workers, *steps: str | WorkerStep, room: int = 1) -> Worker:
    serves = tuple(WorkerStep(step) if isinstance(step, str) else step for step in steps or ("f",))
    return await workers.join(Registration(serves, room), lambda: None)


async def everything(workers: Workers, value: Json, name: str = "f", facts: Facts = FACTS) -> list[Json | Failure]:
    """All that comes of one call."""
    named = await workers.find(name, "")
    assert named is not None
    made: list[Json | Failure] = []
    try:
        async with aclosing(cast(Any, named.function)(value, facts)) as outputs:
            async for output in outputs:
                made.append(output)  # noqa: PERF401  what came before a failure counts
    except Failure as failure:
        made.append(failure)
    return made


def calling(workers: Workers, *values: Json, name: str = "f") -> list[asyncio.Task[list[Json | Failure]]]:
    return [asyncio.create_task(everything(workers, value, name)) for value in values]


def asked(worker: Worker) -> list[Asked]:
    """What a worker has to be told to do."""
    told = []
    while (each := worker.line.unsent()) is not None:
        assert isinstance(each, Asked)
        told.append(each)
    return told


def answer(worker: Worker, call: Asked, *outputs: Json) -> None:
    for output in outputs:
        worker.line.output(call.call_id, output, 8)
    worker.line.finish(call.call_id)


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def soon(what: Awaitable[T]) -> T:
    return await asyncio.wait_for(what, 10)


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


async def test_a_step_that_nobody_serves_any_more_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[tuple[float, Callable[[], None]]] = []
    loop = asyncio.get_running_loop()
    wait = loop.call_later

    def call_later(delay_s: float, act: Callable[..., None], *arguments: Any) -> asyncio.TimerHandle:
        timers.append((delay_s, partial(act, *arguments)))
        return wait(3600, act, *arguments)

    monkeypatch.setattr(loop, "call_later", call_later)
    workers = workers_of(Limits(worker_wait_s=11, worker_known_s=22))
    named = await workers.find("f", "")
    assert named is None
    worker = await joined(workers)
    named = await workers.find("f", "")
    workers.leave(worker)
    assert named is not None
    for number, limit_s in enumerate((11, 22)):
        assert await workers.find("f", "") is not None
        delay_s, act = timers[number]
        assert delay_s == limit_s
        act()
    assert await workers.find("f", "") is None
    with pytest.raises(Failure) as caught:
        await anext(cast(Any, named.function)(1, FACTS))
    assert caught.value.reason is Reason.NO_WORKER


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


async def test_names_of_the_servers_own_steps_are_not_for_workers() -> None:
    workers = workers_of()
    with pytest.raises(Conflict) as caught:
        await joined(workers, "f", "upper")
    assert (caught.value.reason, caught.value.subject and caught.value.subject.name) == (Reason.STEP_EXISTS, "upper")
    assert await workers.infos() == []


async def test_workers_of_one_step_agree_on_its_schemas() -> None:
    workers = workers_of()
    text: dict[str, Json] = {"type": "string"}
    first = await joined(workers, WorkerStep("f", "1", input_schema=text))
    await joined(workers, WorkerStep("f", "1", "described otherwise", input_schema=dict(text)))
    await joined(workers, WorkerStep("f", "2", output_schema=text))
    with pytest.raises(InvalidRequest) as caught:
        await joined(workers, "g", WorkerStep("f", "1", output_schema=text))
    found = [(violation.field, violation.reason) for violation in caught.value.violations]
    places = ("register.steps[1].input_schema", "register.steps[1].output_schema")
    assert found == [(place, Reason.FIELD_INVALID) for place in places]
    infos = {(info.name, info.version): info for info in await workers.infos()}
    assert infos.keys() == {("f", "1"), ("f", "2")}
    assert (infos["f", "1"].worker_count, infos["f", "1"].input_schema, infos["f", "1"].provider) == (2, text, "worker")
    workers.leave(first)
    assert [info.worker_count for info in await workers.infos()] == [1, 1]


async def test_a_step_without_a_version_is_the_highest_that_is_served() -> None:
    workers = workers_of()
    await joined(workers, WorkerStep("f", "1.9"))
    highest = await joined(workers, WorkerStep("f", "1.10"))

    async def found(version: str = "") -> str | None:
        named = await workers.find("f", version)
        return named.version if named is not None else None

    assert (await found(), await found("1.9"), await found("2")) == ("1.10", "1.9", None)
    workers.leave(highest)
    assert (await found(), await found("1.10")) == ("1.9", "1.10")


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
