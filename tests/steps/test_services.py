from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from stepwired.errors import Failure, Reason
from stepwired.steps.line import Asked
from stepwired.steps.worker import Worker
from tests.steps.working import FACTS, PATIENT, asked, calling, joined, soon, turns, workers_of


async def sending(worker: Worker, call: Asked, count: int) -> None:
    """The other side sends a call's outputs and its end, as far as the line lets it."""
    for value in range(count):
        await worker.line.room()
        worker.line.output(call.call_id, value, 8)
        await turns()  # what waits for it is no longer hungry then
    await worker.line.room()
    worker.line.finish(call.call_id)


@pytest.mark.parametrize("room", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 40, 100])
async def test_a_call_that_waits_for_room_is_not_held_up_by_outputs_that_nobody_takes(room: int, count: int) -> None:
    workers = workers_of()
    worker = await joined(workers, "gen", "inc", room=room)
    makes = await workers.find("gen", "")
    assert makes is not None
    lines = [makes.function(0, FACTS) for _ in range(room)]
    firsts = [asyncio.ensure_future(anext(line, None)) for line in lines]
    await turns()
    sendings = [asyncio.create_task(sending(worker, call, count)) for call in asked(worker)]
    await soon(asyncio.gather(*firsts))
    [waits] = calling(workers, 1, name="inc")
    await soon(asyncio.gather(*sendings))
    await turns()
    [call] = asked(worker)
    worker.line.output(call.call_id, 2, 8)
    worker.line.finish(call.call_id)
    assert await soon(waits) == [2]
    for line in lines:
        assert [output async for output in line] == list(range(1, count))


async def test_steps_without_workers_are_forgotten_beyond_a_limit_those_left_first_first() -> None:
    workers = workers_of(replace(PATIENT, worker_steps_known=3))
    first = await joined(workers, "a")
    [running] = calling(workers, 0, name="a")
    await turns()
    workers.leave(first)
    for name in "bcd":
        workers.leave(await joined(workers, name))
    assert [name for name in "abcd" if await workers.find(name, "") is not None] == ["b", "c", "d"]
    [failure] = await soon(running)  # nobody waits for a step that is not known
    assert isinstance(failure, Failure)
    assert failure.reason is Reason.NO_WORKER
    back = await joined(workers, "b")
    workers.leave(await joined(workers, "e"))
    workers.leave(await joined(workers, "f"))
    assert [name for name in "abcdef" if await workers.find(name, "") is not None] == ["b", "d", "e", "f"]
    [call] = calling(workers, 1, name="b")
    await turns()
    back.line.finish(asked(back)[0].call_id)
    assert await soon(call) == []
    assert len(list(workers._services.values())) == 4
    assert workers._waiting_count == 0
