"""The steps that workers serve: their names, schemas and versions, and how long they are known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest

from stepwired.errors import Conflict, Failure, InvalidRequest, Reason
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps.worker import WorkerStep
from tests.steps.working import FACTS, joined, workers_of


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
