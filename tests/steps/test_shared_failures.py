from __future__ import annotations

import asyncio
from collections.abc import Sequence

from stepwired.errors import Failure, Reason, StepFailed, Unavailable
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps.line import Line
from stepwired.steps.results import ErrorMode, Item, StageEvent, StageEventKind
from stepwired.steps.spec import Client, Javascript, Map, Named, Spec, Spread
from tests.steps.conftest import Scripted, events_of, finished_in, placed, registry_of, results_in
from tests.steps.working import PATIENT, joined, soon, turns, workers_of


class Down:
    """Functions for which no process can be had."""

    async def faults(self, sources: Sequence[str]) -> Sequence[str | None]:
        return [None] * len(sources)

    def run(self) -> Down:
        return self

    async def call(self, source: str, calls: Sequence[Sequence[Json]]) -> Sequence[Json | Failure]:
        raise Unavailable(Reason.SERVER_DRAINING, "no process")

    async def aclose(self) -> None:
        pass


def test_a_failure_for_one_more_who_meets_it_shares_nothing_that_runs_write_to() -> None:
    first = StepFailed(Reason.STEP_EXECUTION_FAILED, "no", metadata={"errorType": "E"}, retry_after_s=3.0)
    try:
        raise first
    except StepFailed:
        again = first.again()
    again.metadata["stepPath"] = "steps[0]"
    assert (type(again), str(again), again.reason, again.told_to_wait_s) == (StepFailed, "no", first.reason, 3.0)
    assert first.metadata == {"errorType": "E"}
    assert again.__traceback__ is None


async def test_runs_whose_worker_is_lost_are_each_told_of_themselves() -> None:
    workers = workers_of(Limits(worker_wait_s=1000, worker_attempts=1))
    worker = await joined(workers, "f", room=3)
    registry = registry_of(Scripted(), others=[workers])
    runs = [
        asyncio.create_task(events_of(registry, placed(Map(Spec(Named("f"), "steps[0].map.step"))), [1])),
        asyncio.create_task(events_of(registry, placed(Spread(), Named("f")), [1])),
        asyncio.create_task(events_of(registry, placed(Spread(), Spread(), Named("f")), [[1]], ErrorMode.FAIL_FAST)),
    ]
    while worker.line.open_count < 3:
        await turns()
    workers.leave(worker)
    found: list[Failure] = []
    for outcome in await soon(asyncio.gather(*runs, return_exceptions=True)):
        if isinstance(outcome, Failure):
            found.append(outcome)
        else:
            assert not isinstance(outcome, BaseException)
            found += [result for result in results_in(outcome) if isinstance(result, Failure)]
    assert [failure.metadata["stepPath"] for failure in found] == ["steps[0].map.step", "steps[1]", "steps[2]"]
    assert ["errors" in failure.metadata for failure in found] == [False, False, True]


async def test_what_a_lost_line_fails_holds_no_more_than_itself() -> None:
    line = Line(PATIENT, lambda: None)
    lost = Unavailable(Reason.WORKER_LOST, "gone")
    line.lose(lost)
    events = await events_of(registry_of(Scripted()), placed(Spread(), Client("f")), list(range(100)), client=line)
    met = [event.result for event in events if isinstance(event, Item)]
    assert len({id(failure) for failure in met}) == 100
    assert lost.__traceback__ is None


async def test_each_item_counts_for_which_no_process_can_be_had() -> None:
    registry = registry_of(Scripted(), functions=Down())
    specs = placed(Map(Spec(Javascript("f"), "steps[0].map.step")))
    events = await events_of(registry, specs, list(range(7)), events=True)
    finished = finished_in(events)
    told = [event for event in events if isinstance(event, StageEvent) and event.kind is StageEventKind.ERROR]
    assert (finished.errors, finished.metadata.errors, len(told)) == (7, 7, 7)
