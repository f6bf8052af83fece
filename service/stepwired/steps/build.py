"""Makes a run's stages of its spec, each with a meter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import pairwise

from stepwired.limits import Limits
from stepwired.steps import leaves, spec
from stepwired.steps.core import Results, Stage, Step, alone, chain, each, gather, items
from stepwired.steps.meter import Meter
from stepwired.steps.named import NamedStep, as_step
from stepwired.steps.results import StageEvent, Value
from stepwired.steps.spec import Spec


@dataclass(frozen=True, slots=True)
class Builder:
    """What is needed to build; one for each run.

    The spec has been validated: nothing is looked for here that might be missing.
    """

    models: leaves.Models
    find: Callable[[str], NamedStep | None]
    limits: Limits
    watch: Callable[[StageEvent], None] | None

    def run(self, steps: Sequence[Spec]) -> tuple[Stage, Meter]:
        """The stage of a whole run: the composition of `steps`. Its meter tells nobody, being no step of the spec."""
        whole = Spec(spec.Compose(tuple(steps)), path="")
        meter = replace(self, watch=None)._meter(whole, "compose", {})
        meter.expected = 1
        return self._composed(steps, meter), meter

    def stage(self, node: Spec, labels: Mapping[str, str]) -> tuple[Stage, Meter]:
        """The stage of one step, and the meter that counts it."""
        if isinstance(node.kind, spec.Compose):
            meter = self._meter(node, "compose", labels)
            return self._composed(node.kind.steps, meter), meter
        if isinstance(node.kind, spec.Gather):
            meter = self._meter(node, "gather", labels)
            return meter.around(gather(self.models.as_json)), meter
        step, meter = self.step(node, labels)
        return each(step, max_concurrency=node.max_concurrency, buffer=node.buffer), meter

    def step(self, node: Spec, labels: Mapping[str, str]) -> tuple[Step, Meter]:
        """The step of one node, and the meter that counts it."""
        match node.kind:
            case spec.Compose() | spec.Gather():
                stage, meter = self.stage(node, labels)
                return alone(stage), meter
            case spec.Map(inner, max_concurrency) if inner is not None:
                meter = self._meter(node, "map", labels)
                step, within = self.step(inner, meter.labels)
                meter.steps = [within]
                return meter.counted(_mapped(step, inner, max_concurrency, within)), meter
            case spec.Spread():
                meter = self._meter(node, "spread", labels)
                return meter.counted(leaves.spread(meter)), meter
            case spec.ChatLeaf() as leaf:
                meter = self._meter(node, "chat", labels)
                return meter.counted(leaves.chat(leaf, self.models, meter)), meter
            case spec.EmbedLeaf() as leaf:
                meter = self._meter(node, "embed", labels)
                return meter.counted(leaves.embed(leaf, self.models, meter)), meter
            case spec.SearchLeaf() as leaf:
                meter = self._meter(node, "search", labels)
                return meter.counted(leaves.search(leaf, self.models, meter)), meter
            case spec.Render() as leaf:
                meter = self._meter(node, "render", labels)
                return meter.counted(leaves.render(leaf, self.models)), meter
            case spec.Named(name) if (named := self.find(name)) is not None:
                meter = self._meter(node, "named", labels, name)
                meter.version = named.version
                return meter.counted(as_step(named, self.models.as_json, self.limits.metadata_depth)), meter
        raise AssertionError(f"{node.path} was not validated")

    def _composed(self, steps: Sequence[Spec], meter: Meter) -> Stage:
        built = [self.stage(step, meter.labels) for step in steps]
        meter.steps = [within for _, within in built]
        for one, next_one in pairwise(meter.steps):
            one.following = next_one
        stages = [within.completing(stage) for stage, within in built]
        return meter.around(chain(stages, [step.buffer for step in steps]), meter.steps[0] if meter.steps else None)

    def _meter(self, node: Spec, kind: str, labels: Mapping[str, str], name: str = "") -> Meter:
        return Meter(node, kind, name=name, labels=labels, watch=self.watch, max_values=self.limits.step_values)


def _mapped(step: Step, node: Spec, max_concurrency: int, within: Meter) -> Step:
    """Run `step` on each item of a list. The map and the step may both say how many at once: the larger holds."""
    stage = each(step, max_concurrency=max(max_concurrency, node.max_concurrency), buffer=node.buffer)

    async def run(value: Value) -> Results:
        values = leaves.the_list(value)
        within.expected += len(values)
        async with aclosing(stage(items(values))) as outputs:
            async for output in outputs:
                yield output.result

    return run
