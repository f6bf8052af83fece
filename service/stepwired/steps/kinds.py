"""Builds the steps that take one value at a time: leaves, named steps, and the combinators around them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple

from stepwired.steps import control, leaves, spec
from stepwired.steps.core import Input, Results, Step, alone
from stepwired.steps.meter import Meter
from stepwired.steps.named import NamedStep, as_step
from stepwired.steps.retry import Policy, retry
from stepwired.steps.schema import Converter, converter
from stepwired.steps.spec import Spec, moved
from stepwired.steps.state import Memory, remember

if TYPE_CHECKING:
    from stepwired.steps.build import Builder


class BuiltStep(NamedTuple):
    """A step, and the meter that counts it."""

    step: Step
    meter: Meter
    is_placed: bool = False
    """Its results say themselves where they belong."""


def step(builder: Builder, node: Spec) -> BuiltStep:
    """Build a step of a kind that `Builder.step` leaves to its like here."""
    build = _COMBINATORS.get(type(node.kind))
    return _leaf(builder, node) if build is None else build(builder, node, node.kind)


def _filter(builder: Builder, node: Spec, kind: spec.Filter) -> BuiltStep:
    meter = builder.meter(node, "filter")
    where = builder.function(kind.where)
    meter.steps = [where.meter]
    return BuiltStep(meter.counted(control.keep(where)), meter)


def _choice(builder: Builder, node: Spec, kind: spec.Choice) -> BuiltStep:
    meter = builder.meter(node, "choice")
    cases = [(builder.function(case.when), builder.step(_there(case.then))) for case in kind.cases]
    otherwise = builder.step(kind.otherwise) if kind.otherwise is not None else None
    branches = [then for _, then in cases] + ([otherwise] if otherwise is not None else [])
    meter.steps = [each for when, then in cases for each in (when.meter, then.meter)]
    if otherwise is not None:
        meter.steps.append(otherwise.meter)
    chosen = control.choose(
        [(when, then.step) for when, then in cases], otherwise.step if otherwise is not None else None
    )
    return BuiltStep(meter.counted(chosen), meter, any(branch.is_placed for branch in branches))


def _timeout(builder: Builder, node: Spec, kind: spec.Timeout) -> BuiltStep:
    meter = builder.meter(node, "timeout")
    inner = builder.step(_there(kind.step))
    meter.steps = [inner.meter]
    return BuiltStep(meter.counted(control.limit_time(inner.step, kind.limit_s)), meter, inner.is_placed)


def _retry(builder: Builder, node: Spec, kind: spec.Retry) -> BuiltStep:
    meter = builder.meter(node, "retry")
    before = len(builder.memories)
    inner = builder.step(_there(kind.step))
    memories = builder.memories[before:]
    backoff = builder.function(kind.backoff) if kind.backoff is not None else None
    when = builder.function(kind.when, unpacked=True) if kind.when is not None else None
    meter.steps = [inner.meter, *(each.meter for each in (backoff, when) if each is not None)]
    models = builder.models
    policy = Policy(kind, when, backoff, builder.budget, models.code_of, models.as_json, builder.limits)
    return BuiltStep(meter.counted(retry(inner.step, policy, meter, memories)), meter, inner.is_placed)


def _state(builder: Builder, node: Spec, kind: spec.State) -> BuiltStep:
    meter = builder.meter(node, "state")
    function = builder.function(kind.step, unpacked=True)
    meter.steps = [function.meter]
    memory = Memory(kind.initial)
    builder.memories.append(memory)
    return BuiltStep(meter.counted(remember(function, memory, builder.models.as_json)), meter)


def _named(builder: Builder, node: Spec, kind: spec.Named) -> BuiltStep:
    meter = builder.meter(node, "named", kind.name)
    found = builder.found[kind.name]
    meter.version = found.version
    if isinstance(found, NamedStep):
        models = builder.models
        made = as_step(found, models.as_json, builder.threads, builder.limits, builder.facts(node))
        return BuiltStep(meter.counted(made), meter)
    steps = [moved(step, f"{node.path}.named.") for step in found.steps]
    stage, within, is_placed = builder.composition(steps)
    meter.steps = within.steps
    fit = converter(found.input_schema, is_input=True)
    whole = _fitted(fit, alone(stage, is_placed=is_placed), builder.models)
    return BuiltStep(meter.counted(whole), meter, is_placed)


def _fitted(fit: Converter | None, step: Step, models: leaves.Models) -> Step:
    """A step whose input is made to fit first."""
    if fit is None:
        return step

    async def run(given: Input) -> Results:
        fitted = Input(given.path, fit(models.as_json(given.value)), given.scope)
        async with aclosing(step(fitted)) as results:
            async for result in results:
                yield result

    return run


def _leaf(builder: Builder, node: Spec) -> BuiltStep:
    models, limits = builder.models, builder.limits
    match node.kind:
        case spec.Spread():
            meter = builder.meter(node, "spread")
            made = leaves.spread(meter)
        case spec.ChatLeaf() as leaf:
            meter = builder.meter(node, "chat")
            made = leaves.chat(leaf, models, meter)
        case spec.EmbedLeaf() as leaf:
            meter = builder.meter(node, "embed")
            made = leaves.embed(leaf, models, limits, meter)
        case spec.SearchLeaf() as leaf:
            meter = builder.meter(node, "search")
            made = leaves.search(leaf, models, limits, meter)
        case spec.Render() as leaf:
            meter = builder.meter(node, "render")
            made = leaves.render(leaf, models, limits)
        case spec.Client(function) if builder.client is not None:
            meter = builder.meter(node, "client", function)
            made = leaves.client(function, builder.client, models, limits, builder.facts(node))
        case _:
            raise AssertionError(f"{node.path} was not validated")
    return BuiltStep(meter.counted(made), meter)


def _there(step: Spec | None) -> Spec:
    assert step is not None
    return step


_COMBINATORS: dict[type, Callable[..., BuiltStep]] = {
    spec.Filter: _filter,
    spec.Choice: _choice,
    spec.Timeout: _timeout,
    spec.Retry: _retry,
    spec.State: _state,
    spec.Named: _named,
}
