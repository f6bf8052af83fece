"""What specs mean, said with plain lists: no tasks, no queues, no order of events. And specs at random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from hypothesis import strategies as st

from stepwired.errors import Reason, Unavailable
from stepwired.events import Json
from stepwired.steps import spec
from stepwired.steps.named import NamedStep
from stepwired.steps.remote import Facts
from stepwired.steps.spec import Emitted, Spec


@dataclass(frozen=True)
class Failed:
    """Stands for a failure."""

    reason: str


Result = Json | Failed

#: What the steps `t0`, `t1`, … make of a value: results, and whether they fail behind them in the first attempts.
TABLES: list[list[tuple[list[Json], int]]] = [
    [([1], 0)],
    [([], 0), ([2, 3], 0)],
    [([4], 0), ([], 9), ([5, 6], 0)],
    [([], 1), ([7], 0)],
    [([8], 2), ([9], 0)],
    [([[1, 2]], 0), ([[]], 0), ([[3], 4], 0)],
    [([], 2)],
]

#: What functions make of a value.
FUNCTIONS: dict[str, Any] = {
    "even": lambda x, _: x % 2 == 0,
    "small": lambda x, _: _key(x) < 3,
    "double": lambda x, _: x * 2 if isinstance(x, int) else x,
    "pair": lambda x, _: [x, x],
    "odd kind": lambda x, _: "yes" if _key(x) % 2 else True,
    "sum": lambda x, state, _: {"outputs": [x + state], "state": x + state},
    "count": lambda x, state, _: {"outputs": [state] * (state % 3), "state": state + 1},
}


def _key(value: Json) -> int:
    return value if isinstance(value, int) else len(value) if isinstance(value, list | str) else 0


def row(name: str, value: Json) -> tuple[list[Json], int]:
    table = TABLES[int(name[1:])]
    return table[_key(value) % len(table)]


def named_steps() -> list[NamedStep]:
    """The steps of the tables, as a server would have them."""

    def make(name: str) -> NamedStep:
        def function(value: Json, facts: Facts) -> Iterator[Json]:
            outputs, failing_count = row(name, value)
            yield from outputs
            if facts.attempt <= failing_count:
                raise Unavailable(Reason.PROVIDER_ERROR, "not yet")

        return NamedStep(name, function, quick=True, takes_facts=True)

    return [make(f"t{index}") for index in range(len(TABLES))]


class Model:
    """Runs a spec on lists."""

    def __init__(self) -> None:
        self.states: dict[str, Json] = {}

    def composed(self, steps: Sequence[Spec], values: list[Result], attempt: int = 1) -> list[Result]:
        for step in steps:
            values = self.stage(step, values, attempt)
        return values

    def stage(self, step: Spec, values: list[Result], attempt: int) -> list[Result]:
        match step.kind:
            case spec.Compose(steps):
                return self.composed(steps, values, attempt)
            case spec.Process():
                return self.composed(list(spec.inside(step.kind)), values, attempt)
            case spec.Gather():
                failed = [value for value in values if isinstance(value, Failed)]
                return [*failed, [value for value in values if not isinstance(value, Failed)]]
            case spec.Take(count):
                return _taken(values, count)
        return [
            output
            for value in values
            for output in ([value] if isinstance(value, Failed) else self.step(step, value, attempt))
        ]

    def step(self, step: Spec, value: Json, attempt: int) -> list[Result]:
        match step.kind:
            case spec.Compose() | spec.Process() | spec.Gather() | spec.Take():
                return self.stage(step, [value], attempt)
            case spec.Map() | spec.Parallel() | spec.Spread() as kind:
                return self.items(kind, value, attempt)
            case spec.Filter(where):
                truth = self.truth(where, value, attempt)
                return [truth] if isinstance(truth, Failed) else [value] if truth else []
            case spec.Choice() as kind:
                return self.chosen(kind, value, attempt)
            case spec.Timeout(inner):
                return self.one(inner, value, attempt)
            case spec.Retry() as kind:
                return self.retried(kind, value, attempt)
            case spec.State(inner, initial):
                return self.remembered(step.path, inner, initial, value)
        return self.leaf(step, value, attempt)

    def leaf(self, step: Spec, value: Json, attempt: int) -> list[Result]:
        match step.kind:
            case spec.Named(name):
                outputs, failing_count = row(name, value)
                return [*outputs, *([Failed("PROVIDER_ERROR")] if attempt <= failing_count else [])]
            case spec.Javascript(source):
                return [self.called(source, value)]
        raise AssertionError(step)

    def items(self, kind: spec.Map | spec.Parallel | spec.Spread, value: Json, attempt: int) -> list[Result]:
        if not isinstance(value, list):
            return [Failed("STEP_INPUT_INVALID")]
        if isinstance(kind, spec.Spread):
            return list(value)
        made = [output for item in value for output in self.one(kind.step, item, attempt)]
        return _cut(made) if isinstance(kind, spec.Parallel) and kind.fail_fast else made

    def one(self, step: Spec | None, value: Json, attempt: int) -> list[Result]:
        assert step is not None
        return self.step(step, value, attempt)

    def called(self, source: str, *arguments: Json) -> Result:
        try:
            result: Json = FUNCTIONS[source](*arguments, {})
        except (TypeError, ValueError):
            return Failed("STEP_EXECUTION_FAILED")
        return result

    def function(self, step: Spec | None, value: Json, attempt: int) -> Result:
        outputs = self.one(step, value, attempt)
        if outputs and isinstance(outputs[0], Failed):
            return outputs[0]
        if len(outputs) > 1 and isinstance(outputs[1], Failed):
            return outputs[1]
        return outputs[0] if len(outputs) == 1 else Failed("STEP_OUTPUT_INVALID")

    def truth(self, step: Spec | None, value: Json, attempt: int) -> bool | Failed:
        answer = self.function(step, value, attempt)
        return answer if isinstance(answer, bool | Failed) else Failed("STEP_OUTPUT_INVALID")

    def chosen(self, kind: spec.Choice, value: Json, attempt: int) -> list[Result]:
        for case in kind.cases:
            truth = self.truth(case.when, value, attempt)
            if isinstance(truth, Failed):
                return [truth]
            if truth:
                return self.one(case.then, value, attempt)
        return self.step(kind.otherwise, value, attempt) if kind.otherwise is not None else []

    def retried(self, kind: spec.Retry, value: Json, outer: int, attempt: int = 1) -> list[Result]:
        before = dict(self.states)
        made = self.one(kind.step, value, outer + attempt - 1)
        failed = next((index for index, each in enumerate(made) if isinstance(each, Failed)), None)
        if failed is None:
            return made
        again = made[failed] == Failed("PROVIDER_ERROR") and attempt < kind.max_attempts
        if kind.emitted is Emitted.BUFFER and not again:
            made = [made[failed]]
        is_over = not again or (kind.emitted is Emitted.FAIL and failed > 0)
        if not is_over or all(isinstance(each, Failed) for each in made):
            self.states = before
        return made if is_over else self.retried(kind, value, outer, attempt + 1)

    def remembered(self, path: str, inner: Spec | None, initial: Json, value: Json) -> list[Result]:
        assert inner is not None
        assert isinstance(inner.kind, spec.Javascript)
        answer = self.called(inner.kind.source, value, self.states.get(path, initial))
        if isinstance(answer, Failed):
            return [answer]
        assert isinstance(answer, dict)
        self.states[path] = answer["state"]
        outputs = answer["outputs"]
        assert isinstance(outputs, list)
        return list(outputs)


def _taken(values: list[Result], count: int) -> list[Result]:
    taken: list[Result] = []
    for value in values:
        if count == 0:
            break
        taken.append(value)
        count -= not isinstance(value, Failed)
    return taken


def _cut(values: list[Result]) -> list[Result]:
    failed = next((index for index, value in enumerate(values) if isinstance(value, Failed)), len(values))
    return values[: failed + 1]


def placed(step: Spec, path: str) -> Spec:
    """The same spec, each step within at a place of its own."""
    count = 0

    def change(part: Any) -> Any:
        nonlocal count
        match part:
            case tuple():
                return tuple(map(change, part))
            case Spec():
                count += 1
                return replace(part, path=f"{path}.{count}", kind=inside(part.kind))
            case spec.Case():
                return inside(part)
        return part

    def inside(part: Any) -> Any:
        return replace(part, **{each.name: change(getattr(part, each.name)) for each in fields(part)})

    changed = change(step)
    assert isinstance(changed, Spec)
    return changed


def _leaf(kind: spec.Kind) -> Spec:
    return Spec(kind, "")


_named = st.integers(0, len(TABLES) - 1).map(lambda index: _leaf(spec.Named(f"t{index}")))
_scripts = st.sampled_from(["double", "pair", "small"]).map(lambda source: _leaf(spec.Javascript(source)))
_predicates = st.sampled_from(["even", "small", "odd kind"]).map(lambda source: _leaf(spec.Javascript(source)))
_functions = st.one_of(_predicates, _named)
_states = st.sampled_from(["sum", "count"]).map(lambda source: _leaf(spec.State(_leaf(spec.Javascript(source)), 0)))
_leaves = st.one_of(
    _named,
    _named,
    _scripts,
    _states,
    st.just(_leaf(spec.Spread())),
    st.just(_leaf(spec.Gather())),
    st.integers(0, 4).map(lambda count: _leaf(spec.Take(count))),
)


#: Make lists of numbers, so that what works on lists has something to do.
_listing = st.sampled_from([_leaf(spec.Javascript("pair")), _leaf(spec.Named("t5"))])
_failing = st.sampled_from([_leaf(spec.Named(f"t{index}")) for index in (2, 3, 4, 6)])


def _around(inner: st.SearchStrategy[Spec]) -> st.SearchStrategy[Spec]:
    maybe = st.none() | inner
    cases = st.lists(st.builds(spec.Case, _functions, inner), min_size=1, max_size=2).map(tuple)
    emitted = st.sampled_from([Emitted.FAIL, Emitted.BUFFER])
    on_lists: st.SearchStrategy[Any] = st.one_of(
        inner.map(spec.Map),
        st.builds(spec.Parallel, inner, st.integers(1, 4)),
        inner.map(lambda step: spec.Parallel(step, 1, fail_fast=True)),
    )
    kinds: st.SearchStrategy[Any] = st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda steps: spec.Compose(tuple(steps))),
        st.builds(lambda lists, kind: spec.Compose((lists, _leaf(kind))), _listing, on_lists),
        _functions.map(spec.Filter),
        st.builds(spec.Process, maybe, inner, maybe),
        st.builds(
            lambda step, attempts, mode: spec.Retry(step, attempts, initial_delay_s=0.0, emitted=mode),
            st.one_of(
                _failing,
                inner,
                st.builds(lambda one, other: _leaf(spec.Compose((one, other))), inner, _failing),
            ),
            st.integers(1, 4),
            emitted,
        ),
        st.builds(lambda one, other: spec.Compose((one, _leaf(spec.Timeout(other, 3600.0)))), inner | _listing, inner),
        st.builds(spec.Choice, cases, maybe),
    )
    return kinds.map(_leaf)


#: Steps of any kind, nested a few deep.
steps = st.recursive(_leaves, _around, max_leaves=6)

values: st.SearchStrategy[Json] = st.lists(
    st.one_of(st.integers(0, 5), st.integers(0, 5), st.lists(st.integers(0, 5), max_size=3)), min_size=2, max_size=5
)
"""Lists: runs begin by spreading them."""
