"""Runs a pipeline: from a spec and a value to results in order, events beside them, and an account of it all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from msgspec import UNSET, UnsetType

from stepwired.errors import Failure
from stepwired.events import Json
from stepwired.steps.ahead import Ahead
from stepwired.steps.build import Builder
from stepwired.steps.core import Input, RunEndedError, items
from stepwired.steps.meter import Meter, too_much
from stepwired.steps.results import (
    ErrorMode,
    Item,
    RunEvent,
    RunFinished,
    RunStarted,
    StageEvent,
    StageEventKind,
    Value,
    Vector,
)
from stepwired.steps.spec import Spec
from stepwired.steps.values import weigh

_EVENTS_WAITING = 256
"""Events that may wait for a reader; what comes then is lost, and counted."""

_SHOWN_BYTES = 4096
"""What a value may take as JSON that is told in an event."""

_RESULTS_WAITING = 1


async def run(
    builder: Builder, steps: Sequence[Spec], value: Json, *, error_mode: ErrorMode, events: bool
) -> AsyncGenerator[RunEvent, None]:
    """Run the composition of valid `steps` on `value`.

    Yields `RunStarted` with the first thing that happens, then results in the order of their paths, stage events
    beside them if `events`, and `RunFinished`. Closing it cancels whatever runs, before this returns.

    Raises:
        Failure: With `FAIL_FAST`, that of the first item that failed; or a limit of the run was reached.
    """
    watcher = _Watcher(builder.models.as_json)
    stage, meter = replace(builder, watch=watcher.tell if events else None).run(steps)
    tally = _Tally(error_mode, meter)
    started = RunStarted(builder.run_id)
    is_started = False
    async with aclosing(Ahead[Item | StageEvent](stage(items([Input((), value)])), _RESULTS_WAITING)) as happenings:
        watcher.outlet = happenings
        late = RunEndedError(too_much("run_s", builder.limits.run_s, "the run takes more seconds"))
        timer = asyncio.get_running_loop().call_later(builder.limits.run_s, happenings.stop, late)
        try:
            async for happening in happenings:
                if isinstance(happening, Item):
                    tally.count(happening)  # first: what raises here is the answer to the call, and nothing was sent
                if not is_started:
                    yield started
                    is_started = True
                yield happening
                if tally.aborted:
                    break
        except RunEndedError as ended:
            raise tally.told(ended.failure) from None
        finally:
            timer.cancel()
    if not is_started:
        yield started
    not_started = meter.inputs_not_started if tally.aborted else 0
    yield RunFinished(tally.results, tally.errors, tally.aborted, not_started, meter.metadata())


class _Tally:
    """Counts what came out, and decides what a failed item means for the run."""

    def __init__(self, error_mode: ErrorMode, meter: Meter) -> None:
        self._error_mode = error_mode
        self._meter = meter
        self.results = 0
        self.errors = 0
        self.aborted = False

    def count(self, item: Item) -> None:
        """Count one result.

        Raises:
            Failure: The item failed, and the run with it.
        """
        if not isinstance(item.result, Failure):
            self.results += 1
            return
        self.errors += 1
        if self._error_mode is ErrorMode.FAIL_FAST:
            raise self.told(item.result)
        self.aborted = item.result.aborts_a_run

    def told(self, failure: Failure) -> Failure:
        """Add to a failure that ends a run how far the run had come."""
        failure.metadata |= {
            "results": str(self.results),
            "errors": str(self.errors),
            "inputsNotStarted": str(self._meter.inputs_not_started),
        }
        return failure


class _Watcher:
    """Puts events between the results, and drops them where the reader is slow."""

    def __init__(self, as_json: Callable[[Value], Json]) -> None:
        self.outlet: Ahead[Item | StageEvent] | None = None
        self._as_json = as_json
        self._dropped = 0

    def tell(self, event: StageEvent) -> None:
        if self.outlet is None or (
            self.outlet.inserted_count >= _EVENTS_WAITING and event.kind is not StageEventKind.RESTARTED
        ):  # what says that results no longer hold is never lost
            self._dropped += 1
            return
        if event.value is not UNSET or self._dropped:
            event = replace(event, value=self._shown(event.value), dropped_before=self._dropped)
        self.outlet.insert(event)
        self._dropped = 0

    def _shown(self, value: Value | UnsetType) -> Json | UnsetType:
        """What is told of a value. Events that wait hold nothing larger."""
        if isinstance(value, Vector | bytes | UnsetType):
            return UNSET
        told = self._as_json(value)
        return told if weigh(told, _SHOWN_BYTES) <= _SHOWN_BYTES else UNSET
