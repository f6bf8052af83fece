"""Workers without a wire: calls of their steps, and what a worker is asked and answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import aclosing
from typing import Any, TypeVar, cast

from stepwired.errors import Failure
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps.line import Asked
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
