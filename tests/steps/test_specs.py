"""Specs at random, run for real, against what plain lists say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from stepwired.errors import Failure
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps import spec
from stepwired.steps.results import Item
from stepwired.steps.spec import Spec
from tests.steps import plain
from tests.steps.conftest import Functions, Scripted, events_of, registry_of
from tests.steps.plain import Failed, Model, Result

LIMITS = Limits(run_retries=100_000, step_nodes=1000)


async def ran(steps: Sequence[Spec], value: Json) -> list[Item]:
    functions = Functions(plain.FUNCTIONS)
    registry = registry_of(Scripted(), LIMITS, functions=functions, named=plain.named_steps())
    before = asyncio.all_tasks()
    events = await events_of(registry, list(steps), value)
    assert functions.open_count == 0
    assert asyncio.all_tasks() == before
    return [event for event in events if isinstance(event, Item)]


def told(item: Item) -> Result:
    if isinstance(item.result, Failure):
        return Failed(item.result.reason.value)
    return item.result  # type: ignore[return-value]


def results(steps: Sequence[Spec], value: Json) -> list[Result]:
    return [told(item) for item in asyncio.run(ran(steps, value))]


def numbered(steps: Sequence[Spec]) -> list[Spec]:
    return [plain.placed(step, f"s{index}") for index, step in enumerate(steps)]


SPREAD = Spec(spec.Spread(), "")
pipelines = st.lists(plain.steps, min_size=1, max_size=3).map(lambda steps: numbered([SPREAD, *steps]))


@given(pipelines, plain.values)
@settings(max_examples=250, deadline=None)
def test_a_run_gives_what_lists_give(steps: list[Spec], value: Json) -> None:
    assert results(steps, value) == Model().composed(steps, [value])


@given(pipelines, plain.values)
@settings(deadline=None)
def test_results_come_in_the_order_of_their_paths_and_no_two_have_the_same(steps: list[Spec], value: Json) -> None:
    paths = [item.path for item in asyncio.run(ran(steps, value))]
    assert paths == sorted(paths)
    assert len(set(paths)) == len(paths)


@given(pipelines, pipelines, pipelines, plain.values)
@settings(deadline=None)
def test_grouping_steps_does_not_matter(a: list[Spec], b: list[Spec], c: list[Spec], value: Json) -> None:
    def compose(*steps: Spec) -> Spec:
        return Spec(spec.Compose(steps), "c")

    flat = results([*a, *b, *c], value)
    assert results([compose(*a), compose(compose(*b), compose(*c))], value) == flat
    assert results([compose(compose(*a), compose(*b)), compose(*c)], value) == flat


@given(plain.steps, plain.values)
@settings(deadline=None)
def test_the_identity_beside_a_step_changes_nothing(step: Spec, value: Json) -> None:
    spread, one = numbered([SPREAD, step])
    identity = Spec(spec.Compose(()), "i")
    alone = results([spread, one], value)
    assert results([spread, identity, one], value) == results([spread, one, identity], value) == alone


def wide(step: Spec, *, as_completed: bool) -> Spec:
    """The same spec; whatever can be worked on side by side is."""
    kind = step.kind
    if isinstance(kind, spec.Parallel):
        kind = replace(kind, as_completed=as_completed, fail_fast=False, max_concurrency=3)
    alone = isinstance(kind, spec.Compose | spec.Process | spec.Gather | spec.Take | spec.Retry)
    return replace(step, kind=kind, max_concurrency=1 if alone else 3, as_completed=as_completed)


GATHER = Spec(spec.Gather(), "")
LISTS = Spec(spec.Named("t5"), "")

#: Specs in which nothing depends on when something happens.
timeless = st.lists(
    st.recursive(
        st.integers(0, len(plain.TABLES)).map(lambda index: Spec(spec.Named(f"t{index - 1}"), "") if index else GATHER),
        lambda inner: st.one_of(
            inner.map(lambda step: Spec(spec.Compose((LISTS, Spec(spec.Map(step), ""))), "")),
            inner.map(lambda step: Spec(spec.Compose((LISTS, Spec(spec.Parallel(step), ""))), "")),
            st.lists(inner, max_size=3).map(lambda steps: Spec(spec.Compose(tuple(steps)), "")),
        ),
        max_leaves=4,
    ),
    max_size=3,
)


def all_wide(steps: Sequence[Spec], *, as_completed: bool) -> list[Spec]:
    def change(step: Spec, *, is_stage: bool) -> Spec:
        kind = step.kind
        if isinstance(kind, spec.Compose):
            kind = spec.Compose(tuple(change(each, is_stage=True) for each in kind.steps))
        elif isinstance(kind, spec.Map | spec.Parallel) and kind.step is not None:
            kind = replace(kind, step=change(kind.step, is_stage=False))
        return wide(replace(step, kind=kind), as_completed=as_completed)

    return numbered([SPREAD, *(change(step, is_stage=True) for step in steps)])


@given(timeless, plain.values)
@settings(deadline=None)
def test_side_by_side_gives_the_same_in_the_same_order(steps: list[Spec], value: Json) -> None:
    wanted = Model().composed([SPREAD, *steps], [value])
    assert results(all_wide(steps, as_completed=False), value) == wanted


@given(timeless, plain.values)
@settings(deadline=None)
def test_as_completed_gives_the_same_results_and_their_paths_tell_the_order(steps: list[Spec], value: Json) -> None:
    items = asyncio.run(ran(all_wide(steps, as_completed=True), value))
    assert len({item.path for item in items}) == len(items)
    items.sort(key=lambda item: item.path)
    assert [told(item) for item in items] == Model().composed([SPREAD, *steps], [value])
