"""Specs before they run: every fault is reported, and what the input says wins over them."""

from __future__ import annotations

import pytest

from stepwired.errors import InvalidRequest, Reason
from stepwired.events import ChatOptions, Message, Role
from stepwired.steps.registry import Registry
from stepwired.steps.spec import ChatLeaf, Compose, Gather, Map, Named, Spec, Spread
from tests.steps.conftest import Scripted, events_of, leaf, placed, registry_of


async def test_what_the_input_of_a_chat_step_says_wins_over_the_spec(scripted: Scripted) -> None:
    registry = registry_of(scripted)
    step = ChatLeaf(model="spec", system="Be brief.", options=ChatOptions(temperature=0.5, seed=1))
    await events_of(registry, placed(step), {"prompt": "hi", "model": "input"})
    [asked] = scripted.asked
    assert (asked.model, asked.system, asked.options.seed) == ("input", "Be brief.", 1)
    assert asked.messages == (Message(Role.USER, "hi"),)


def nested(depth: int) -> list[Spec]:
    spec = Spec(Spread(), "deepest")
    for _ in range(depth - 1):
        spec = Spec(Compose((spec,)), "outer")
    return [spec]


@pytest.mark.parametrize(
    ("specs", "paths"),
    [
        (placed(Named("uper")), ["steps[0].named"]),
        (placed(Named("upper@7")), ["steps[0].named"]),
        ([Spec(None, "steps[0]")], ["steps[0]"]),
        (placed(Map(None)), ["steps[0].map.step"]),
        (placed(Spec(Compose(()), "steps[0]", max_concurrency=2)), ["steps[0].max_concurrency"]),
        (placed(Spec(Gather(), "steps[0]", max_concurrency=2)), ["steps[0].max_concurrency"]),
        (placed(Map(Spec(Compose(()), "steps[0].map.step", max_concurrency=2))), []),
        (placed(Map(leaf(Named("x"))), Named("y"), Named("upper")), ["steps[0].map.step.named", "steps[1].named"]),
        (nested(32), []),
        (nested(33), ["deepest"]),
        (placed(*[Spread()] * 1000), []),
        (placed(*[Spread()] * 1002), ["steps[1000]"]),
    ],
)
async def test_every_fault_of_a_spec_is_reported_and_nothing_runs(
    registry: Registry, specs: list[Spec], paths: list[str]
) -> None:
    assert [fault.field for fault in await registry.validate(specs)] == paths
    if paths:
        with pytest.raises(InvalidRequest) as caught:
            await events_of(registry, specs, None)
        assert caught.value.reason is Reason.STEP_GRAPH_INVALID


async def test_an_unknown_step_is_answered_with_the_nearest_name(registry: Registry) -> None:
    [fault] = await registry.validate(placed(Named("uper")))
    assert "did you mean `upper`?" in fault.description
