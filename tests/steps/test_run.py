"""Whole runs over scripted models: what each kind gives, and failures in their place or at the end."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from stepwired.errors import Broken, Failure, InvalidRequest, Misconfigured, Reason
from stepwired.events import Batch, ChatRequest, Json
from stepwired.steps.registry import Registry
from stepwired.steps.results import ErrorMode, Item, Outcome, RunFinished, RunStarted, Vector
from stepwired.steps.spec import ChatLeaf, Compose, EmbedLeaf, Gather, Kind, Map, Named, Render, SearchLeaf, Spread
from tests.steps.conftest import Scripted, events_of, finished_in, leaf, placed, registry_of, results_in

UPPER = Map(leaf(Named("upper")))


async def test_a_pipeline_gives_results_with_paths_between_started_and_finished(registry: Registry) -> None:
    events = await events_of(registry, placed(UPPER, EmbedLeaf()), ["a", "b"])
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunFinished)
    assert [event.path for event in events if isinstance(event, Item)] == [(0, 0), (1, 0)]
    assert all(isinstance(result, Vector) for result in results_in(events))


@pytest.mark.parametrize(
    ("kinds", "value", "wanted"),
    [
        ([], 7, [7]),
        ([Spread()], [1, [2]], [1, [2]]),
        ([Spread(), Gather()], [1, 2], [[1, 2]]),
        ([Spread(), Gather()], [], [[]]),
        ([Map(leaf(Spread()))], [[1], [], [2, 3]], [1, 2, 3]),
        ([Map(leaf(Compose((leaf(Spread()), leaf(Gather())))))], [[1], []], [[1], []]),
        ([Spread(), Compose(())], [1], [1]),
        ([Named("lines"), Named("upper@1")], "a\n\nb", ["A", "B"]),
        ([Named("trim"), Named("length")], "  ab ", [2]),
        ([Named("parse_json"), Named("to_json")], '{"a": 1}', ['{"a":1}']),
        ([Named("join")], ["a", "b"], ["a\nb"]),
        ([Render("{{who}} has {{items.1}}")], {"who": "x", "items": [1, {"y": 2}]}, ['x has {"y":2}']),
        ([Render("{{.}}")], {"a": [1, None]}, ['{"a":[1,null]}']),
        ([Render("{{.}}")], "{{a}}", ["{{a}}"]),
        ([ChatLeaf(), Named("text")], "abc", ["cba"]),
        ([ChatLeaf(), Render("{{role}}: {{text}}")], "abc", ["assistant: cba"]),
        ([EmbedLeaf(), Gather()], ["a", "bb"], [[[1.0, 0.0], [0.0, 2.0]]]),
    ],
)
async def test_each_kind_gives_what_it_promises(
    registry: Registry, kinds: list[Kind], value: Json, wanted: list[Json]
) -> None:
    assert results_in(await events_of(registry, placed(*kinds), value)) == wanted


async def test_search_ranks_documents_best_first_and_ties_by_index(registry: Registry) -> None:
    value: Json = {"query": "a", "documents": ["b", "aa", "c", "ab", "a"]}
    found = results_in(await events_of(registry, placed(SearchLeaf(top_k=4)), value))
    assert [(hit["index"], hit["text"]) for hit in found if isinstance(hit, dict)] == [
        (1, "aa"),
        (4, "a"),
        (3, "ab"),
        (0, "b"),
    ]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (UPPER, "no list"),
        (Spread(), {"a": 1}),
        (EmbedLeaf(), 1),
        (EmbedLeaf(), ["a", 1]),
        (EmbedLeaf(), ["a", " "]),
        (EmbedLeaf(), "x" * 40_000),
        (EmbedLeaf(), ["a"] * 2049),
        (Render("{{" + "1" * 5000 + "}}"), [1]),
        (SearchLeaf(), {"query": "a"}),
        (SearchLeaf(), {"query": 1, "documents": []}),
        (Render("{{missing}}"), {}),
        (Render("{{a.b}}"), {"a": "text"}),
        (ChatLeaf(), 1),
        (Named("upper"), 1),
        (Named("parse_json"), "{"),
    ],
)
async def test_a_value_that_a_step_does_not_take_fails_its_item_and_says_where(
    registry: Registry, kind: Kind, value: Json
) -> None:
    events = await events_of(registry, placed(kind), value)
    [failure] = results_in(events)
    assert isinstance(failure, Failure)
    assert failure.reason is Reason.STEP_INPUT_INVALID
    assert failure.metadata["stepPath"] == "steps[0]"
    assert [violation.field for violation in failure.violations] == ["steps[0]"]
    assert finished_in(events).errors == 1


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (EmbedLeaf(), " ", "the text has to say something, and is blank"),
        (EmbedLeaf(), ["a", ""], "item 1 of the list has to say something, and is blank"),
        (EmbedLeaf(), ["a", 1], "item 1 of the list has to be a text, and is a number"),
        (EmbedLeaf(), "x" * 40_000, "the text has more than the 32768 bytes that a text may have"),
        (SearchLeaf(), {"query": "", "documents": ["a"]}, "`query` has to say something, and is blank"),
        (
            SearchLeaf(),
            {"query": "q", "documents": ["a", " "]},
            "item 1 of `documents` has to say something, and is blank",
        ),
        (
            SearchLeaf(),
            {"query": "q", "documents": ["a"] * 2048},
            "the step takes at most 2048 texts at once, and was given 2049",
        ),
    ],
)
async def test_a_text_that_cannot_be_embedded_is_told_by_its_place(
    registry: Registry, kind: Kind, value: Json, said: str
) -> None:
    [failure] = results_in(await events_of(registry, placed(kind), value))
    assert isinstance(failure, Failure)
    assert str(failure) == said


async def test_a_failure_keeps_its_place_and_the_run_goes_on(registry: Registry) -> None:
    events = await events_of(registry, placed(UPPER, Named("lower")), ["A", 1, "B"])
    found = results_in(events)
    assert found[0] == "a"
    assert isinstance(found[1], Failure)
    assert found[1].metadata["stepPath"] == "steps[0].map.step"
    assert found[2] == "b"
    assert (finished_in(events).results, finished_in(events).errors) == (2, 1)


async def test_failing_fast_says_nothing_before_the_failure_so_that_a_client_may_retry(registry: Registry) -> None:
    specs = placed(Named("upper"))
    async with aclosing(registry.run(specs, 1, error_mode=ErrorMode.FAIL_FAST, events=False, run_id="r")) as run:
        with pytest.raises(InvalidRequest):
            await anext(run)


async def test_failing_fast_raises_the_first_failure_and_counts(registry: Registry) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await events_of(registry, placed(UPPER), ["A", 1, "B", "C"], ErrorMode.FAIL_FAST)
    assert caught.value.metadata["results"] == "1"
    assert caught.value.metadata["errors"] == "1"
    assert int(caught.value.metadata["inputsNotStarted"]) in {1, 2}  # the map may be one ahead of the reader


class Refusing(Scripted):
    async def chat(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        raise Misconfigured(Reason.PROVIDER_API_KEY_INVALID, "invalid api key")
        yield []


async def test_what_would_fail_for_each_input_alike_ends_the_run() -> None:
    registry = registry_of(Refusing())
    events = await events_of(registry, placed(Spread(), ChatLeaf()), ["a", "b", "c", "d", "e", "f"])
    finished = finished_in(events)
    [failure] = results_in(events)
    assert isinstance(failure, Misconfigured)
    assert finished.aborted
    assert finished.inputs_not_started > 0
    assert finished.metadata.outcome is Outcome.FAILED
    assert finished.metadata.steps[1].outcome is Outcome.FAILED


def test_broken_is_never_an_items_failure() -> None:
    assert not Broken(Reason.INTERNAL, "").aborts_a_run
