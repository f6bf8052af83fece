"""Runs a pipeline: from a spec and a value to results in order, events beside them, and an account of it all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from stepwired.errors import Failure
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps import leaves
from stepwired.steps.build import Builder
from stepwired.steps.core import Ahead, RunEndedError, single
from stepwired.steps.meter import Meter, too_much
from stepwired.steps.named import NamedStep
from stepwired.steps.results import ErrorMode, Item, RunEvent, RunFinished, RunStarted, StageEvent
from stepwired.steps.spec import Spec

_EVENTS_WAITING = 256
"""Events that may wait for a reader; what comes then is lost, and counted."""

_RESULTS_WAITING = 1


async def run(
    steps: tuple[Spec, ...],
    value: Json,
    *,
    models: leaves.Models,
    find: Callable[[str], NamedStep | None],
    limits: Limits,
    error_mode: ErrorMode,
    events: bool,
    run_id: str,
) -> AsyncGenerator[RunEvent, None]:
    """Run the composition of valid `steps` on `value`.

    Yields `RunStarted` with the first thing that happens, then results in the order of their paths, stage events
    beside them if `events`, and `RunFinished`. Closing it cancels whatever runs, before this returns.

    Raises:
        Failure: With `FAIL_FAST`, that of the first item that failed; or a limit of the run was reached.
    """
    watcher = _Watcher()
    builder = Builder(models, find, limits, watcher.tell if events else None)
    stage, meter = builder.run(steps)
    results = errors = 0
    aborted = False
    yield_started = True
    async with aclosing(Ahead[Item | StageEvent](stage(single(value)), _RESULTS_WAITING)) as happenings:
        watcher.outlet = happenings
        late = RunEndedError(too_much("run_s", limits.run_s, "the run takes more seconds"))
        timer = asyncio.get_running_loop().call_later(limits.run_s, happenings.stop, late)
        try:
            async for happening in happenings:
                if yield_started:
                    yield RunStarted(run_id)
                    yield_started = False
                if isinstance(happening, Item):
                    if isinstance(happening.result, Failure):
                        if error_mode is ErrorMode.FAIL_FAST:
                            raise _counted(happening.result, meter, results, errors + 1)
                        errors += 1
                        aborted = happening.result.aborts_a_run
                    else:
                        results += 1
                yield happening
                if aborted:
                    break
        except RunEndedError as ended:
            raise _counted(ended.failure, meter, results, errors) from None
        finally:
            timer.cancel()
    if yield_started:
        yield RunStarted(run_id)
    not_started = meter.inputs_not_started if aborted else 0
    yield RunFinished(results, errors, aborted, not_started, meter.metadata())


class _Watcher:
    """Puts events between the results, and drops them where the reader is slow."""

    def __init__(self) -> None:
        self.outlet: Ahead[Item | StageEvent] | None = None
        self._dropped = 0

    def tell(self, event: StageEvent) -> None:
        if self.outlet is None or self.outlet.inserted_count >= _EVENTS_WAITING:
            self._dropped += 1
            return
        self.outlet.insert(replace(event, dropped_before=self._dropped) if self._dropped else event)
        self._dropped = 0


def _counted(failure: Failure, meter: Meter, results: int, errors: int) -> Failure:
    """Add to a failure that ends a run how far the run had come."""
    failure.metadata |= {
        "results": str(results),
        "errors": str(errors),
        "inputsNotStarted": str(meter.inputs_not_started),
    }
    return failure
