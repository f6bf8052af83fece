"""Makes a run's stages of its spec, each with a meter."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps import batches, control, kinds, leaves, parallel, spec
from stepwired.steps.core import Input, Results, Stage, alone, chain, each, gather, over
from stepwired.steps.functions import FunctionRun
from stepwired.steps.kinds import BuiltStep
from stepwired.steps.meter import Meter
from stepwired.steps.remote import Facts, Served
from stepwired.steps.results import StageEvent
from stepwired.steps.retry import Budget
from stepwired.steps.script import Function, javascript
from stepwired.steps.sources import Found
from stepwired.steps.spec import Spec
from stepwired.steps.state import Memory
from stepwired.steps.threads import Threads
from stepwired.steps.values import Gathered


class BuiltStage(NamedTuple):
    """A stage, and the meter that counts it."""

    stage: Stage
    meter: Meter
    is_placed: bool
    """Its results do not come in the order of their paths, so that these have to be kept."""


@dataclass(frozen=True, slots=True)
class Builder:
    """What is needed to build; one for each run.

    The spec has been validated: nothing is looked for here that might be missing.
    """

    models: leaves.Models
    found: Mapping[str, Found]
    """What each name in the spec, and in the pipelines that it leads to, means in this run."""

    threads: Threads
    limits: Limits
    run_id: str
    budget: Budget
    scripts: FunctionRun | None = None
    client: Served | None = None
    watch: Callable[[StageEvent], None] | None = None
    memories: list[Memory] = field(default_factory=list)
    """The states of what was built so far."""

    def run(self, steps: Sequence[Spec]) -> tuple[Stage, Meter]:
        """The stage of a whole run: the composition of `steps`."""
        stage, meter, _ = self.composition(steps, is_stream=True)
        meter.expected = 1
        return stage, meter

    def composition(self, steps: Sequence[Spec], *, is_stream: bool = False) -> BuiltStage:
        """The composition of steps that is no step of the spec itself. Its meter tells nobody.

        Args:
            steps: First to last.
            is_stream: It is run once, on one stream, so that the end of that is the end of each step within.
        """
        whole = Spec(spec.Compose(tuple(steps)), path="")
        return self._composed(steps, replace(self, watch=None).meter(whole, "compose"), is_stream=is_stream)

    def stage(self, node: Spec, *, is_stream: bool) -> BuiltStage:
        """One step as part of a composition: its inputs are a stream; see `composition`."""
        match node.kind:
            case spec.Compose(steps):
                return self._composed(steps, self.meter(node, "compose"), is_stream=is_stream)
            case spec.Process(pre, process, post):
                steps = tuple(step for step in (pre, process, post) if step is not None)
                return self._composed(steps, self.meter(node, "process"), is_stream=is_stream)
            case spec.Gather():
                meter = self.meter(node, "gather")
                return BuiltStage(
                    meter.around(gather(partial(Gathered, self.models.as_json, self.limits))), meter, False
                )
            case spec.Take(count):
                meter = self.meter(node, "take")
                return BuiltStage(meter.around(control.take(count)), meter, False)
        if (many := self._many(node)) is not None:
            return BuiltStage(batches.stage(many[0]), many[1], False)
        return self._each(node, node.max_concurrency, as_completed=node.as_completed)

    def step(self, node: Spec) -> BuiltStep:
        """One step by itself: its input is one value."""
        match node.kind:
            case spec.Compose() | spec.Process() | spec.Gather() | spec.Take():
                stage, meter, is_placed = self.stage(node, is_stream=False)
                return BuiltStep(alone(stage, is_placed=is_placed), meter, is_placed)
            case spec.Javascript() | spec.Filter() if (many := self._many(node)) is not None:
                return BuiltStep(batches.alone(many[0]), many[1])
            case spec.Map(inner) if inner is not None:
                return self._over_list(node, "map", inner, inner.max_concurrency, as_completed=inner.as_completed)
            case spec.Parallel(inner) as kind if inner is not None:
                return self._over_list(
                    node,
                    "parallel",
                    inner,
                    kind.max_concurrency,
                    as_completed=kind.as_completed,
                    fail_fast=kind.fail_fast,
                    is_placed=True,
                )
        return kinds.step(self, node)

    def function(self, node: Spec | None, *, unpacked: bool = False) -> Function:
        """A step that has to result in one value.

        Args:
            node: The step.
            unpacked: Its values are objects that hold several arguments, which JavaScript takes one by one.
        """
        assert node is not None
        if isinstance(node.kind, spec.Javascript):
            many, meter = self._javascript(node, node.kind.source, unpacked=unpacked)
            return Function(batches.alone(many), meter)
        step, meter, _ = self.step(node)
        return Function(step, meter)

    def _composed(self, steps: Sequence[Spec], meter: Meter, *, is_stream: bool) -> BuiltStage:
        built = [self.stage(step, is_stream=is_stream) for step in steps]
        meter.steps = [one.meter for one in built]
        for one, next_one in pairwise(meter.steps):
            one.following = next_one
        stages = [one.meter.completing(one.stage) if is_stream else one.stage for one in built]
        joined = chain(stages, [step.buffer for step in steps])
        is_placed = any(one.is_placed for one in built)
        return BuiltStage(meter.around(joined, meter.steps[0] if meter.steps else None), meter, is_placed)

    def _each(
        self, node: Spec, max_concurrency: int, *, as_completed: bool = False, fail_fast: bool = False
    ) -> BuiltStage:
        """One step on each of many values."""
        before = len(self.memories)
        step, meter, is_placed = self.step(node)
        if len(self.memories) > before:
            max_concurrency = 1  # a state within sees its values one after the other, in the order of the inputs
        if max_concurrency == 1 and not fail_fast:
            return BuiltStage(each(step), meter, is_placed)
        unordered = as_completed and max_concurrency > 1
        joined = parallel.as_completed if unordered else parallel.side_by_side
        stage = joined(step, max_concurrency=max_concurrency, buffer=node.buffer, fail_fast=fail_fast)
        return BuiltStage(stage, meter, is_placed or unordered)

    def _over_list(
        self,
        node: Spec,
        kind: str,
        inner: Spec,
        max_concurrency: int,
        *,
        as_completed: bool = False,
        fail_fast: bool = False,
        is_placed: bool = False,
    ) -> BuiltStep:
        """A step on each item of a list."""
        meter = self.meter(node, kind)
        is_placed |= as_completed and max_concurrency > 1
        run: Callable[[Sequence[Json], Input], Results]
        if (many := self._many(inner)) is not None:
            meter.steps = [many[1]]
            run = partial(batches.over, many[0], is_placed=is_placed, fail_fast=fail_fast)
        else:
            stage, within, inner_placed = self._each(
                inner, max_concurrency, as_completed=as_completed, fail_fast=fail_fast
            )
            meter.steps = [within]
            is_placed |= inner_placed
            run = partial(over, stage, is_placed=is_placed)
        return BuiltStep(meter.counted(leaves.on_list(run, meter.steps[0])), meter, is_placed)

    def _many(self, node: Spec) -> tuple[batches.Many, Meter] | None:
        """One step on many values at once, if it is of a kind that can."""
        match node.kind:
            case spec.Javascript(source):
                return self._javascript(node, source)
            case spec.Filter(where) if where is not None and (asked := self._many(where)) is not None:
                meter = self.meter(node, "filter")
                meter.steps = [asked[1]]
                function = Function(batches.alone(asked[0]), asked[1])
                return meter.counted_many(control.keep_many(asked[0], function)), meter
        return None

    def _javascript(self, node: Spec, source: str, *, unpacked: bool = False) -> tuple[batches.Many, Meter]:
        meter = self.meter(node, "javascript")
        assert self.scripts is not None
        as_json = self.models.as_json
        many = javascript(source, node.path, self.scripts, self.run_id, as_json, unpacked=unpacked)
        return meter.counted_many(many), meter

    def meter(self, node: Spec, kind: str, name: str = "") -> Meter:
        """What counts a step of this run."""
        return Meter(node, kind, name=name, watch=self.watch, max_values=self.limits.step_values)

    def facts(self, node: Spec) -> Callable[[Input], Facts]:
        """What those who serve a step learn of each input beside its value."""

        def of(given: Input) -> Facts:
            ends_s = given.scope.ends_s
            left_s = None if ends_s is None else max(0.0, ends_s - time.monotonic())
            return Facts(self.run_id, node.path, given.path, given.scope.attempt, left_s)

        return of
