"""Makes a run's stages of its spec, each with a meter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

from stepwired.limits import Limits
from stepwired.steps import leaves, spec
from stepwired.steps.core import Input, Results, Stage, Step, alone, chain, each, gather, items
from stepwired.steps.meter import Meter
from stepwired.steps.named import NamedStep, as_step
from stepwired.steps.results import StageEvent
from stepwired.steps.spec import Spec
from stepwired.steps.threads import Threads
from stepwired.steps.values import Gathered


@dataclass(frozen=True, slots=True)
class Builder:
    """What is needed to build; one for each run.

    The spec has been validated: nothing is looked for here that might be missing.
    """

    models: leaves.Models
    find: Callable[[str], NamedStep | None]
    threads: Threads
    limits: Limits
    watch: Callable[[StageEvent], None] | None = None

    def run(self, steps: Sequence[Spec]) -> tuple[Stage, Meter]:
        """The stage of a whole run: the composition of `steps`. Its meter tells nobody, being no step of the spec."""
        whole = Spec(spec.Compose(tuple(steps)), path="")
        meter = replace(self, watch=None)._meter(whole, "compose")
        meter.expected = 1
        return self._composed(steps, meter), meter

    def stage(self, node: Spec) -> tuple[Stage, Meter]:
        """The stage of one step, and the meter that counts it."""
        if isinstance(node.kind, spec.Compose):
            meter = self._meter(node, "compose")
            return self._composed(node.kind.steps, meter), meter
        if isinstance(node.kind, spec.Gather):
            meter = self._meter(node, "gather")
            return meter.around(gather(partial(Gathered, self.models.as_json, self.limits))), meter
        step, meter = self.step(node)
        return each(step, max_concurrency=node.max_concurrency, buffer=node.buffer), meter

    def step(self, node: Spec) -> tuple[Step, Meter]:
        """The step of one node, and the meter that counts it."""
        match node.kind:
            case spec.Compose() | spec.Gather():
                stage, meter = self.stage(node)
                return alone(stage), meter
            case spec.Map(inner) if inner is not None:
                meter = self._meter(node, "map")
                step, within = self.step(inner)
                meter.steps = [within]
                return meter.counted(_mapped(step, inner, within)), meter
            case spec.Spread():
                meter = self._meter(node, "spread")
                return meter.counted(leaves.spread(meter)), meter
            case spec.ChatLeaf() as leaf:
                meter = self._meter(node, "chat")
                return meter.counted(leaves.chat(leaf, self.models, meter)), meter
            case spec.EmbedLeaf() as leaf:
                meter = self._meter(node, "embed")
                return meter.counted(leaves.embed(leaf, self.models, self.limits, meter)), meter
            case spec.SearchLeaf() as leaf:
                meter = self._meter(node, "search")
                return meter.counted(leaves.search(leaf, self.models, self.limits, meter)), meter
            case spec.Render() as leaf:
                meter = self._meter(node, "render")
                return meter.counted(leaves.render(leaf, self.models, self.limits)), meter
            case spec.Named(name) if (named := self.find(name)) is not None:
                meter = self._meter(node, "named", name)
                meter.version = named.version
                return meter.counted(as_step(named, self.models.as_json, self.threads, self.limits)), meter
        raise AssertionError(f"{node.path} was not validated")

    def _composed(self, steps: Sequence[Spec], meter: Meter) -> Stage:
        built = [self.stage(step) for step in steps]
        meter.steps = [within for _, within in built]
        for one, next_one in pairwise(meter.steps):
            one.following = next_one
        stages = [within.completing(stage) for stage, within in built]
        return meter.around(chain(stages, [step.buffer for step in steps]), meter.steps[0] if meter.steps else None)

    def _meter(self, node: Spec, kind: str, name: str = "") -> Meter:
        return Meter(node, kind, name=name, watch=self.watch, max_values=self.limits.step_values)


def _mapped(step: Step, node: Spec, within: Meter) -> Step:
    """Run `step` on each item of a list."""
    stage = each(step, max_concurrency=node.max_concurrency, buffer=node.buffer)

    async def run(given: Input) -> Results:
        values = leaves.the_list(given.value)
        within.expected += len(values)
        inputs = (Input((*given.path, index), value) for index, value in enumerate(values))
        async with aclosing(stage(items(inputs))) as outputs:
            async for output in outputs:
                yield output.result

    return run
