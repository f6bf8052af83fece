"""Counts what a step does, tells those who watch, and keeps a stage within its limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import aclosing

from msgspec import UNSET, UnsetType

from stepwired.errors import Failure, Reason, Throttled, Violation
from stepwired.events import Usage, total
from stepwired.steps.batches import Many, Outputs
from stepwired.steps.core import Input, Results, RunEndedError, Stage, Step, Stream
from stepwired.steps.results import Metadata, Outcome, Placed, StageEvent, StageEventKind, Value
from stepwired.steps.spec import Spec


class Meter:
    """How one step of one run goes. There is a meter for each step of the spec, in the same shape.

    Args:
        spec: The step.
        kind: What the step is, such as `map`.
        name: What it is called where the spec does not say.
        watch: Is told every event; None where nobody watches.
        max_values: Values that may leave the step, all inputs together.
    """

    def __init__(
        self,
        spec: Spec,
        kind: str,
        *,
        name: str = "",
        watch: Callable[[StageEvent], None] | None,
        max_values: int,
    ) -> None:
        self.path = spec.path
        self.kind = kind
        self.name = spec.name or name or kind
        self.labels = spec.labels
        self.steps: list[Meter] = []
        """The meters of the steps within."""
        self.following: Meter | None = None
        """The meter of the step that takes what this one makes."""
        self.expected = 0
        """Inputs that the step has been given or is known to get."""
        self.withheld = 0
        """Values that the step is known to make, and has not made yet."""
        self.version = ""
        self.retries = 0
        """Times its work was begun again."""
        self.forgiven = 0
        """Items that failed within, and were tried again."""
        self.cache_hits = 0
        self._watch = watch
        self._max_values = max_values
        self._inputs = self._outputs = self._errors = self._working = 0
        self._started_ns = 0
        self._began = self._left = 0.0
        self._usage: Usage | None = None
        self._model = self._provider = ""
        self._has_ended_run = self._was_cancelled = self._has_completed = False

    def counted(self, step: Step) -> Step:
        """The same step, counted."""

        async def run(given: Input) -> Results:
            path = given.path
            self._begin(path, given.value)
            has_ended = False
            next_place = 0
            try:
                async with aclosing(step(given)) as results:
                    async for result in results:
                        if isinstance(result, Placed):
                            next_place = max(next_place, result.path[0] + 1)
                            if not isinstance(result.result, Failure):
                                self._made(path + result.path, result.result)
                        else:
                            if not isinstance(result, Failure):  # those of the steps within are counted there
                                self._made((*path, next_place), result)
                            next_place += 1
                        yield result
                has_ended = True
            except Failure as failure:
                self.failed((*path, next_place), failure)
                has_ended = True
                raise
            finally:
                self._leave(path, has_ended)

        return run

    def counted_many(self, many: Many) -> Many:
        """The same step on many values at once, counted."""

        async def run(inputs: Sequence[Input]) -> Sequence[Outputs]:
            for given in inputs:
                self._begin(given.path, given.value)
            left = 0
            try:
                made = await many(inputs)
                for given, outputs in zip(inputs, made, strict=True):
                    for place, output in enumerate(outputs):
                        if not isinstance(output, Failure):
                            self._made((*given.path, place), output)
                        elif "stepPath" not in output.metadata:  # those of the steps within are counted there
                            self.failed((*given.path, place), output)
                    left += 1
                    self._working -= 1
            finally:
                for given in inputs[left:]:
                    self._leave(given.path, False)
            self._left = time.monotonic()
            return made

        return run

    def around(self, stage: Stage, first: Meter | None = None) -> Stage:
        """The same stage, its values counted as they go in and come out.

        Args:
            stage: What to count.
            first: The meter of the first step within, which is given each value.
        """

        async def entering(stream: Stream) -> Stream:
            async with aclosing(stream):
                async for item in stream:
                    if not isinstance(item.result, Failure):
                        self._begin(item.path, item.result)
                        if first is not None:
                            first.expected += 1
                    yield item

        async def run(stream: Stream) -> Stream:
            has_ended = False
            try:
                async with aclosing(stage(entering(stream))) as outputs:
                    async for item in outputs:
                        if not isinstance(item.result, Failure):
                            self._made(item.path, item.result)
                        yield item
                has_ended = True
            finally:
                if self._started_ns:
                    self._working = 1  # it was one stage that worked, however many inputs went into it
                    self._leave((), has_ended)

        return run

    def completing(self, stage: Stage) -> Stage:
        """The same stage; when it comes to its end, whoever watches is told."""
        if self._watch is None:
            return stage

        async def run(stream: Stream) -> Stream:
            async with aclosing(stage(stream)) as outputs:
                async for item in outputs:
                    yield item
            self._complete()

        return run

    @property
    def is_watched(self) -> bool:
        """Whether anybody wants events, so that making them is worth it."""
        return self._watch is not None

    def text_delta(self, path: tuple[int, ...], text: str) -> None:
        """Tell that a model wrote more of its answer to the input at `path`."""
        self._tell(StageEventKind.TEXT_DELTA, path, text_delta=text)

    def retrying(self, path: tuple[int, ...], attempt: int, delay_s: float) -> None:
        """Count that the step has failed on the input at `path`, and is tried again after `delay_s`."""
        self.retries += 1
        self.forgiven += 1
        self._tell(StageEventKind.RETRYING, path, attempt=attempt, delay_s=delay_s)

    def restarted(self, path: tuple[int, ...], attempt: int) -> None:
        """Tell that what was given for the input at `path` no longer holds."""
        self._tell(StageEventKind.RESTARTED, path, attempt=attempt)

    def used(self, usage: Usage | None, *, model: str, provider: str) -> None:
        """Count what a model read and wrote."""
        self._model, self._provider = model, provider
        self._usage = total(self._usage, usage)

    @property
    def inputs_not_started(self) -> int:
        """Inputs that steps were given or known to get, and did not begin with; here and within."""
        waiting = max(0, self.expected - self._inputs) + self.withheld
        return waiting + sum(step.inputs_not_started for step in self.steps)

    def metadata(self) -> Metadata:
        """How it went so far, with the steps within."""
        within = tuple(step.metadata() for step in self.steps)
        usage = self._usage
        for step in within:
            usage = total(usage, step.usage)
        return Metadata(
            step_path=self.path,
            type=self.kind,
            name=self.name,
            start_time_ns=self._started_ns,
            duration_s=max(0.0, (time.monotonic() if self._working else self._left) - self._began),
            inputs=self._inputs,
            outputs=self._outputs,
            errors=max(0, self._errors + sum(step.errors for step in within) - self.forgiven),
            attempts=self._inputs + self.retries,
            usage=usage,
            labels=self.labels,
            outcome=self._outcome(),
            model=self._model,
            provider=self._provider,
            version=self.version,
            cache_hits=self.cache_hits,
            steps=within,
        )

    def _outcome(self) -> Outcome:
        if self._has_ended_run or any(step._outcome() is Outcome.FAILED for step in self.steps):
            return Outcome.FAILED
        if self._working or self._was_cancelled:
            return Outcome.CANCELLED
        return Outcome.COMPLETED if self._started_ns else Outcome.NOT_STARTED

    def _begin(self, path: tuple[int, ...], value: Value) -> None:
        if not self._started_ns:
            self._started_ns = time.time_ns()
            self._began = time.monotonic()
        self._inputs += 1
        self._working += 1
        if self._watch is not None:
            self._tell(StageEventKind.STARTED, path, value=value)

    def _made(self, path: tuple[int, ...], value: Value) -> None:
        self._outputs += 1
        if self._outputs > self._max_values:
            self._has_ended_run = True
            raise RunEndedError(
                too_much("step_values", self._max_values, f"{self.path or 'the run'} makes more values")
            )
        if self.following is not None:
            self.following.expected += 1
        if self._watch is not None:
            self._tell(StageEventKind.RESULT, path, value=value)

    def failed(self, path: tuple[int, ...], failure: Failure) -> None:
        """Count an item that failed in the step itself, and say in the failure where."""
        self._errors += 1
        self._has_ended_run |= failure.aborts_a_run
        failure.metadata.setdefault("stepPath", self.path)
        if failure.reason is Reason.STEP_INPUT_INVALID and not failure.violations:
            failure.violations = (Violation(self.path, str(failure), failure.reason),)
        self._tell(StageEventKind.ERROR, path, failure=failure)

    def _leave(self, path: tuple[int, ...], has_ended: bool) -> None:
        self._working -= 1
        self._was_cancelled |= not has_ended
        self._left = time.monotonic()
        if not has_ended:
            self._tell(StageEventKind.CANCELLED, path)

    def _complete(self) -> None:
        for step in self.steps:
            step._complete()
        if self._started_ns and not self._has_completed:
            self._has_completed = True
            self._tell(StageEventKind.COMPLETED, ())

    def _tell(
        self,
        kind: StageEventKind,
        path: tuple[int, ...],
        *,
        value: Value | UnsetType = UNSET,
        text_delta: str = "",
        failure: Failure | None = None,
        attempt: int = 0,
        delay_s: float | None = None,
    ) -> None:
        if self._watch is not None:
            happened = StageEvent(self.path, kind, self.name, path, text_delta, value, failure, 0, attempt, delay_s)
            self._watch(happened)


def too_much(limit_name: str, limit: float, message: str) -> Throttled:
    """The failure of a run that used more than it may."""
    return Throttled(
        Reason.STEP_LIMIT_EXCEEDED,
        f"{message} than it may: {limit:g}",
        metadata={"limitName": limit_name, "limit": f"{limit:g}"},
    )
