from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwired.errors import Reason, Throttled
from stepwired.limits import Limits
from stepwired.steps import spec
from stepwired.steps.pipelines import Listed, Pipelines
from stepwired.steps.sources import SavedPipeline
from stepwired.steps.spec import Spec
from tests.steps.conftest import placed


def pipeline(reference: str, *names: str, schema: dict[str, object] | None = None) -> SavedPipeline:
    """A pipeline `name@version` that names others, each within something else."""
    name, _, version = reference.partition("@")
    wrapped = [spec.Map(Spec(spec.Named(each), f"steps[{index}].map.step")) for index, each in enumerate(names)]
    return SavedPipeline(name, version, tuple(placed(*wrapped)), schema)  # type: ignore[arg-type]


def listed(saved: SavedPipeline, size_bytes: int = 10) -> Listed:
    return Listed.of(saved, f"{saved.name} {saved.version}", size_bytes)


def kept(*saved: SavedPipeline, limits: Limits | None = None) -> Pipelines:
    made = Pipelines(limits or Limits(), is_tool={"tool"}.__contains__)
    made.put(map(listed, saved))
    return made


def loops(pipelines: Pipelines, new: SavedPipeline) -> list[tuple[str, str]]:
    found = list(pipelines.loops(new))
    assert all(each.reason is Reason.STEP_GRAPH_INVALID for each in found)
    return [(each.field, each.description.partition(": ")[2].replace("`", "")) for each in found]


# --- finding ---


async def test_a_name_means_its_highest_version_and_a_version_only_itself() -> None:
    ones = [pipeline(f"p@{version}") for version in ("1.9", "2.0", "1.10", "2")]
    pipelines = kept(*ones, pipeline("q@1"))
    assert await pipelines.find("p", "") is ones[1]
    assert await pipelines.find("p", "1.10") is ones[2]
    assert await pipelines.find("p", "1.1") is None
    assert await pipelines.find("r", "") is None
    pipelines.remove("p", ["2.0", "2"])
    assert await pipelines.find("p", "") is ones[2]
    pipelines.remove("p", ["1.9", "1.10"])
    assert await pipelines.find("p", "") is None
    pipelines.remove("p", ["1"])
    assert [info.name for info in await pipelines.infos()] == ["q"]


async def test_what_is_there_is_not_replaced_and_what_was_found_is_not_changed() -> None:
    first, second = pipeline("p@1", "upper"), pipeline("p@1", "lower")
    pipelines = kept(first, second)
    found = await pipelines.find("p", "")
    assert found is first
    pipelines.remove("p", ["1"])
    pipelines.put([listed(second)])
    assert await pipelines.find("p", "1") is second
    assert found is first


async def test_they_are_listed_by_name_the_highest_version_first_with_what_is_known_of_each() -> None:
    schema: dict[str, object] = {"type": "string"}
    pipelines = kept(
        pipeline("tool@1", schema=schema), pipeline("b@9"), pipeline("b@10", schema=schema), pipeline("a@1")
    )
    infos = await pipelines.infos()
    assert [f"{info.name}@{info.version}" for info in infos] == ["a@1", "b@10", "b@9", "tool@1"]
    assert [info.description for info in infos] == ["a 1", "b 10", "b 9", "tool 1"]
    assert {info.provider for info in infos} == {"pipeline"}
    assert [info.input_schema for info in infos] == [None, schema, None, schema]
    assert [info.is_tool for info in infos] == [False, False, False, True], "the operator lists it, and it has a schema"


VERSIONS = st.lists(st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}", fullmatch=True), min_size=1, unique=True)


@given(VERSIONS)
async def test_the_highest_version_is_that_of_the_largest_numbers(given: list[str]) -> None:
    pipelines = kept(*(pipeline(f"p@{version}") for version in given))
    found = await pipelines.find("p", "")
    assert found is not None
    largest = max([int(number) for number in version.split(".")] for version in given)
    assert [int(number) for number in found.version.split(".")] == largest


# --- circles ---


def test_a_pipeline_may_not_name_itself() -> None:
    assert loops(kept(), pipeline("p@1", "upper", "p")) == [("steps[1].map.step.named", "p → p")]
    assert loops(kept(), pipeline("p@1", "p@1")) == [("steps[0].map.step.named", "p → p@1")]
    assert loops(kept(), pipeline("p", "p")) == [("steps[0].map.step.named", "p → p")]


def test_a_pipeline_may_be_made_of_another_version_of_its_own() -> None:
    pipelines = kept(pipeline("p@1", "upper"))
    assert loops(pipelines, pipeline("p@2", "p@1")) == []
    assert loops(pipelines, pipeline("p", "p@1")) == []
    assert loops(pipelines, pipeline("p@2", "p")) == [("steps[0].map.step.named", "p → p")], "it would be the highest"
    assert loops(pipelines, pipeline("p@0.9", "p")) == [], "it would not be the highest"


def test_a_save_may_not_close_a_circle_through_others() -> None:
    pipelines = kept(pipeline("a@1", "upper", "b"), pipeline("b@1", "c"), pipeline("c@1", "upper"))
    assert loops(pipelines, pipeline("c@2", "x", "a")) == [("steps[1].map.step.named", "c → a → b → c")]
    assert loops(pipelines, pipeline("c@0.5", "a")) == [], "b goes on to the highest, which is 1"
    pinned = kept(pipeline("a@1", "c@1"), pipeline("c@1"))
    assert loops(pinned, pipeline("c@2", "a")) == []


def test_each_step_that_leads_back_is_told_and_no_other() -> None:
    pipelines = kept(pipeline("a@1", "p"), pipeline("b@1", "a"), pipeline("c@1", "upper"))
    assert loops(pipelines, pipeline("p@1", "a", "c", "b", "a")) == [
        ("steps[0].map.step.named", "p → a → p"),
        ("steps[2].map.step.named", "p → b → a → p"),
        ("steps[3].map.step.named", "p → a → p"),
    ]


def test_a_circle_among_others_ends_the_search_too() -> None:
    """A deletion can close one: what a name means then is an older version."""
    pipelines = kept(pipeline("a@1", "b"), pipeline("b@1", "a"))
    assert loops(pipelines, pipeline("p@1", "a", "b")) == []


def test_a_long_chain_and_a_dense_net_are_looked_through_once() -> None:
    chain = kept(*(pipeline(f"n{number}@1", f"n{number + 1}") for number in range(5000)))
    assert loops(chain, pipeline("n5000@1", "n1")) != []
    assert loops(chain, pipeline("other@1", "n1", "n0")) == []
    net = kept(*(pipeline(f"n{number}@1", f"n{number + 1}", f"n{number + 1}") for number in range(200)))
    assert loops(net, pipeline("other@1", "n0", "n0")) == []


def test_a_thousand_references_into_a_long_circle_are_each_told_soon_and_briefly() -> None:
    """Each looked through anew, they would take minutes."""
    chain = kept(*(pipeline(f"n{number}@1", f"n{number + 1}") for number in range(4000)))
    found = loops(chain, pipeline("n4000@1", *["n1", "n7"] * 500))
    assert len(found) == 1000
    names = " → ".join(f"n{number}" for number in [4000, *range(1, 10)])
    assert found[0][1] == f"{names} → (3990 more) → n4000"
    assert max(len(text) for _, text in found) < 200


REFERENCES = st.lists(st.tuples(st.sampled_from("abcd"), st.lists(st.sampled_from("abcd"), max_size=2)), max_size=8)


@given(REFERENCES)
def test_what_may_be_saved_one_after_the_other_never_leads_to_itself(saves: list[tuple[str, list[str]]]) -> None:
    pipelines = Pipelines(Limits())
    edges: dict[str, list[str]] = {}

    def leads(name: str, to: str, seen: set[str]) -> bool:
        after = edges.get(name, [])
        return to in after or any(leads(each, to, seen | {each}) for each in after if each not in seen)

    for number, (name, names) in enumerate(saves, 1):
        before = edges.get(name)
        edges[name] = names
        has_circle = leads(name, name, {name})
        new = pipeline(f"{name}@{number}", *names)
        assert bool(loops(pipelines, new)) is has_circle
        if has_circle:
            edges.pop(name)
            if before is not None:
                edges[name] = before
        else:
            pipelines.put([listed(new)])


# --- room ---


def test_there_is_room_for_so_many_bytes_and_steps_and_no_more() -> None:
    limits = Limits(pipelines_bytes=30, pipelines_steps=6)
    pipelines = kept(pipeline("p@1", "a"), pipeline("p@2", "a"), limits=limits)
    pipelines.check_room(listed(pipeline("q@1", "a")))
    for too_much in (listed(pipeline("q@1", "a"), size_bytes=11), listed(pipeline("q@1", "a", "b"))):
        with pytest.raises(Throttled) as caught:
            pipelines.check_room(too_much)
        assert caught.value.reason is Reason.STORE_FULL
    pipelines.remove("p", ["1"])
    pipelines.check_room(listed(pipeline("q@1", "a", "b")))
    few = kept(pipeline("p@1"), pipeline("p@1"), limits=Limits(pipelines=2))
    few.check_room(listed(pipeline("p@2")))
    few.put([listed(pipeline("p@2"))])
    with pytest.raises(Throttled):
        few.check_room(listed(pipeline("q@1")))
    few.remove("p", ["1", "3"])
    few.check_room(listed(pipeline("q@1")))
