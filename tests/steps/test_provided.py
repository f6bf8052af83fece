"""Steps that somebody else provides: functions of the caller, schemas, saved pipelines."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence

import pytest

from stepwired.errors import InvalidRequest, Reason, StepFailed
from stepwired.events import Json
from stepwired.steps import named
from stepwired.steps.named import NamedStep
from stepwired.steps.remote import Facts
from stepwired.steps.sources import SavedPipeline, StepInfo
from stepwired.steps.spec import (
    Client,
    Compose,
    Gather,
    Javascript,
    Kind,
    Map,
    Named,
    Spec,
    Spread,
    Timeout,
)
from tests.steps.conftest import Functions, Scripted, events_of, finished_in, placed, registry_of, results_in

FUNCTIONS = Functions({"double": lambda x, _: x * 2})


async def found(kinds: Sequence[Kind | Spec], value: Json, *steps: NamedStep) -> list[object]:
    registry = registry_of(Scripted(), functions=FUNCTIONS, named=steps)
    return results_in(await events_of(registry, placed(*kinds), value))


class Caller:
    """Serves `repeat`."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Json, Facts]] = []

    async def call(self, function: str, value: Json, facts: Facts) -> AsyncGenerator[Json, None]:
        self.asked.append((function, value, facts))
        yield value
        yield value


async def test_a_function_of_the_caller_gives_any_number_of_results() -> None:
    caller = Caller()
    inner = Spec(Timeout(Spec(Client("repeat"), "c"), 600.0), "t")
    events = await events_of(registry_of(Scripted()), placed(Spread(), inner), [1, 2], client=caller)
    assert results_in(events) == [1, 1, 2, 2]
    function, value, facts = caller.asked[1]
    assert (function, value, facts.run_id, facts.step_path, facts.path, facts.attempt) == (
        "repeat",
        2,
        "r",
        "c",
        (1,),
        1,
    )
    assert facts.time_left_s is not None
    assert 0 < facts.time_left_s <= 600


async def test_a_function_of_the_caller_needs_a_caller() -> None:
    registry = registry_of(Scripted())
    with pytest.raises(InvalidRequest) as caught:
        await events_of(registry, placed(Client("repeat")), 1)
    [fault] = caught.value.violations
    assert (fault.field, fault.reason) == ("steps[0].client", Reason.STEP_GRAPH_INVALID)
    assert "RunInteractive" in fault.description
    assert await registry.validate(placed(Client("repeat"))) == ()


SCHEMA: Mapping[str, Json] = {
    "type": "object",
    "properties": {"count": {"type": "integer"}, "word": {"type": "string", "default": "a"}},
    "required": ["count"],
}


@named.step("repeat", quick=True, input=SCHEMA, output={"type": "string", "maxLength": 4})
def repeat(value: dict[str, int]) -> object:
    """A word, so many times."""
    return value["word"] * value["count"]


async def test_a_value_is_made_to_fit_the_schema_of_a_step_or_refused_with_its_place() -> None:
    assert await found([Named("repeat")], {"count": "3"}, repeat) == ["aaa"]
    assert await found([Named("repeat")], {"count": 2.0, "word": 7}, repeat) == ["77"]
    for value, place in (({}, "$"), ({"count": "x"}, "$.count")):
        [failure] = await found([Named("repeat")], value, repeat)  # type: ignore[arg-type]
        assert isinstance(failure, InvalidRequest)
        assert failure.reason is Reason.STEP_INPUT_INVALID
        assert failure.metadata["jsonPath"] == place
    [failure] = await found([Named("repeat")], {"count": 5}, repeat)
    assert isinstance(failure, StepFailed)
    assert failure.reason is Reason.STEP_OUTPUT_INVALID


class Saved:
    """Saved pipelines."""

    def __init__(self, *pipelines: SavedPipeline) -> None:
        self._pipelines = {pipeline.name: pipeline for pipeline in pipelines}

    async def find(self, name: str, version: str) -> SavedPipeline | None:
        found = self._pipelines.get(name)
        return found if found is not None and version in {"", found.version} else None

    async def infos(self) -> Sequence[StepInfo]:
        return [StepInfo(each.name, each.version, "", "pipeline") for each in self._pipelines.values()]


def saved(name: str, *kinds: Kind, version: str = "3", schema: Mapping[str, Json] | None = None) -> SavedPipeline:
    return SavedPipeline(name, version, tuple(placed(*kinds)), schema)


async def test_a_pipeline_runs_where_it_is_named_each_value_by_itself() -> None:
    registry = registry_of(
        Scripted(), others=[Saved(saved("inner", Named("upper")), saved("outer", Spread(), Named("inner"), Gather()))]
    )
    events = await events_of(registry, placed(Spread(), Named("outer@3")), [["a"], ["b", "c"]])
    assert results_in(events) == [["A"], ["B", "C"]]
    [_, outer] = finished_in(events).metadata.steps
    assert (outer.type, outer.name, outer.version, outer.inputs) == ("named", "outer@3", "3", 2)
    assert [step.step_path for step in outer.steps] == [f"steps[1].named.steps[{index}]" for index in range(3)]
    assert outer.steps[1].steps[0].step_path == "steps[1].named.steps[1].named.steps[0]"


async def test_a_pipeline_refuses_what_its_schema_does_not_allow() -> None:
    registry = registry_of(Scripted(), others=[Saved(saved("p", Named("to_json"), schema={"type": "array"}))])
    [failure] = results_in(await events_of(registry, placed(Named("p")), 1))
    assert isinstance(failure, InvalidRequest)
    assert failure.reason is Reason.STEP_INPUT_INVALID


@pytest.mark.parametrize(
    ("pipelines", "kinds", "what"),
    [
        ([saved("a", Named("b")), saved("b", Named("a"))], [Named("a")], "leads to itself: `a@3` → `b@3` → `a@3`"),
        ([saved("a", Named("gone"))], [Named("a")], "in the pipeline `a@3`, steps[0].named: no step is called `gone`"),
        ([saved("a", Spread())], [Named("a@4")], "did you mean `a`?"),
        ([saved("a", *[Spread()] * 600)], [Named("a"), Named("a")], "more than 1000 steps"),
        ([saved("a", Javascript("bad"))], [Named("a")], "SyntaxError"),
        ([saved("a", Map(Spec(Compose((Spec(Named("b"), "x"),)), "y"))), saved("b", Spread())], [Named("a")], ""),
    ],
)
async def test_pipelines_are_looked_through_before_anything_runs(
    pipelines: list[SavedPipeline], kinds: list[Kind], what: str
) -> None:
    registry = registry_of(Scripted(), functions=FUNCTIONS, others=[Saved(*pipelines)])
    faults = await registry.validate(placed(*kinds))
    assert any(what in fault.description for fault in faults) if what else not faults


async def test_what_was_meant_is_guessed_for_the_first_few_unknown_names_only() -> None:
    """Each guess takes a while, and holds up everybody."""
    registry = registry_of(Scripted(), others=[Saved(*(saved(f"summary-{number}", Spread()) for number in range(500)))])
    asked = [Named("uper"), Named("upperr@2"), *(Named(f"sumary-{number}") for number in range(900))]
    faults = await registry.validate(placed(*asked))
    assert len(faults) == 902
    guesses = ["did you mean" in fault.description for fault in faults]
    assert guesses == [True] * 5 + [False] * 897
    assert "did you mean `upper`?" in faults[0].description
    [long] = await registry.validate(placed(Named("s" * 128)))
    assert "ListSteps shows" in long.description


async def test_names_behind_too_many_are_not_said_to_be_unknown() -> None:
    wide = [saved(f"p{number}", Named(f"q{number}"), Named("upper")) for number in range(600)]
    deep = [saved(f"q{number}", Spread()) for number in range(600)]
    registry = registry_of(Scripted(), others=[Saved(*wide, *deep)])
    faults = await registry.validate(placed(*(Named(f"p{number}") for number in range(600))))
    assert faults
    assert all("more than 1000 steps" in fault.description for fault in faults)


async def test_functions_are_checked_before_anything_runs() -> None:
    inner = Spec(Javascript("(x) =>"), "steps[1].map.step")
    specs = placed(Javascript("double"), Map(inner))
    [fault] = await registry_of(Scripted(), functions=FUNCTIONS).validate(specs)
    assert (fault.field, fault.reason) == ("steps[1].map.step.javascript", Reason.STEP_GRAPH_INVALID)
    assert len(await registry_of(Scripted()).validate(specs)) == 2  # no JavaScript is run here at all


async def test_steps_tell_what_is_known_of_them() -> None:
    infos = await registry_of(Scripted(), named=[repeat], others=[Saved(saved("p", Spread()))]).infos()
    by_name = {info.name: info for info in infos}
    assert by_name["repeat"].input_schema == SCHEMA
    assert by_name["repeat"].output_schema == {"type": "string", "maxLength": 4}
    assert (by_name["p"].provider, by_name["p"].version) == ("pipeline", "3")
    assert [info.name for info in infos] == sorted(by_name)
