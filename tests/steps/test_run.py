"""Whole runs over scripted models: results, events, failures, limits and the account at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from stepwired.errors import Broken, Failure, InvalidRequest, Misconfigured, Reason, Throttled
from stepwired.events import Batch, ChatOptions, ChatRequest, Json, Message, Role
from stepwired.limits import Limits
from stepwired.steps.registry import Registry
from stepwired.steps.results import (
    ErrorMode,
    Item,
    Outcome,
    RunFinished,
    RunStarted,
    StageEvent,
    StageEventKind,
    Vector,
)
from stepwired.steps.spec import (
    ChatLeaf,
    Compose,
    EmbedLeaf,
    Gather,
    Kind,
    Map,
    Named,
    Render,
    SearchLeaf,
    Spec,
    Spread,
)
from tests.steps.conftest import Scripted, events_of, finished_in, placed, registry_of, results_in


def leaf(kind: Kind) -> Spec:
    return Spec(kind, "steps[0].map.step")


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


async def test_the_account_has_the_shape_of_the_spec_and_adds_up(registry: Registry) -> None:
    pipeline = Compose((leaf(ChatLeaf()), leaf(Named("text"))))
    inner = Spec(pipeline, "steps[0].map.step", labels={"b": "inner"}, max_concurrency=2)
    outer = Spec(Map(inner), "steps[0]", name="ask", labels={"a": "1", "b": "outer"})
    root = finished_in(await events_of(registry, [outer], ["ab", 1, "cde"])).metadata
    [ask] = root.steps
    [pair] = ask.steps
    chat, text = pair.steps
    assert (root.type, ask.name, ask.type, pair.type, chat.type, text.name) == (
        "compose",
        "ask",
        "map",
        "compose",
        "chat",
        "text",
    )
    assert (ask.inputs, ask.outputs, ask.errors) == (1, 2, 1)
    assert (pair.inputs, pair.outputs, chat.inputs, chat.outputs, chat.errors) == (3, 2, 3, 2, 1)
    assert root.usage is not None
    assert root.usage.output_tokens == 5
    assert (chat.model, chat.provider) == ("mirror-1", "scripted")
    assert text.version == "1"
    assert (ask.labels, pair.labels, chat.labels) == ({"a": "1", "b": "outer"}, {"b": "inner"}, {})
    assert root.outcome is chat.outcome is Outcome.COMPLETED


async def test_events_tell_the_life_of_each_step(registry: Registry) -> None:
    events = await events_of(registry, placed(ChatLeaf()), "ab", events=True)
    told = [event for event in events if isinstance(event, StageEvent)]
    assert {event.step_path for event in told} == {"steps[0]"}
    assert [event.path for event in told] == [(), (), (), (0,), ()]
    assert [event.kind for event in told] == [
        StageEventKind.STARTED,
        StageEventKind.TEXT_DELTA,
        StageEventKind.TEXT_DELTA,
        StageEventKind.RESULT,
        StageEventKind.COMPLETED,
    ]
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunFinished)


async def test_events_within_a_map_say_which_item_they_are_about(registry: Registry) -> None:
    inner = Spec(ChatLeaf(), "steps[1].map.step", max_concurrency=3)
    specs = [Spec(Spread(), "steps[0]"), Spec(Map(inner), "steps[1]")]
    events = await events_of(registry, specs, [["a"], ["b", "cd"]], events=True)
    deltas: dict[tuple[int, ...], str] = {}
    for event in events:
        if isinstance(event, StageEvent) and event.kind is StageEventKind.TEXT_DELTA:
            deltas[event.path] = deltas.get(event.path, "") + event.text_delta
    assert deltas == {(0, 0): "a", (1, 0): "b", (1, 1): "dc"}


async def test_a_slow_reader_loses_events_and_no_results(registry: Registry) -> None:
    specs = placed(Spread(), ChatLeaf())
    long = "x" * 1000  # the scripted model says a delta for each letter, all at once
    events = await events_of(registry, specs, [long, "y"], events=True)
    told = [event for event in events if isinstance(event, StageEvent)]
    dropped = sum(event.dropped_before for event in told)
    assert dropped > 0
    deltas = len(long) + 1
    others = 2 * (1 + 2 + 2 + 1)  # of spread and chat: started, results, completed
    assert deltas <= len(told) + dropped <= deltas + others
    assert [result.text for result in results_in(events) if isinstance(result, Message)] == [long, "y"]


async def test_a_run_that_is_left_stops_its_model() -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    class Silent(Scripted):
        async def chat(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
            try:
                started.set()
                await asyncio.sleep(3600)
                yield []
            finally:
                stopped.set()

    registry = registry_of(Silent())
    before = asyncio.all_tasks()

    async def read() -> None:
        await events_of(registry, placed(Map(Spec(ChatLeaf(), "steps[0].map.step", max_concurrency=64))), ["a"] * 64)

    reading = asyncio.create_task(read())
    await asyncio.wait_for(started.wait(), 5)
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()
    assert stopped.is_set()
    assert asyncio.all_tasks() == before


async def test_more_values_than_a_stage_may_make_end_the_run(scripted: Scripted) -> None:
    registry = registry_of(scripted, Limits(step_values=3))
    with pytest.raises(Throttled) as caught:
        await events_of(registry, placed(Spread()), [1, 2, 3, 4])
    assert caught.value.reason is Reason.STEP_LIMIT_EXCEEDED
    assert caught.value.metadata["limitName"] == "step_values"
    assert caught.value.metadata["results"] == "3"


@pytest.mark.parametrize(
    ("kinds", "value"),
    [
        ([Render("{{.}}" * 1000)] * 3, "x" * 10),
        ([Named("to_json")] * 30, '"'),
        ([Spread(), Gather()], ["x" * 1000] * 11),
        ([Spread(), EmbedLeaf(), Gather()], ["a"] * 1000),
    ],
)
async def test_a_value_that_grows_too_large_fails_its_item(scripted: Scripted, kinds: list[Kind], value: Json) -> None:
    registry = registry_of(scripted, Limits(step_value_bytes=10_000))
    [failure] = results_in(await events_of(registry, placed(*kinds), value))
    assert isinstance(failure, Throttled)
    assert failure.metadata["limitName"] == "step_value_bytes"


@pytest.mark.parametrize("count", [33, 60, 900])
async def test_a_value_that_is_nested_too_deep_fails_in_its_place(registry: Registry, count: int) -> None:
    found = results_in(await events_of(registry, placed(*[Gather()] * count), 1))
    failures = [result for result in found if isinstance(result, Failure)]
    assert failures
    assert {failure.reason for failure in failures} == {Reason.STEP_OUTPUT_INVALID}


async def test_a_run_that_takes_too_long_is_ended() -> None:
    class Silent(Scripted):
        async def chat(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
            await asyncio.sleep(3600)
            yield []

    registry = registry_of(Silent(), Limits(run_s=0.01))
    with pytest.raises(Throttled) as caught:
        await events_of(registry, placed(ChatLeaf()), "a")
    assert caught.value.metadata["limitName"] == "run_s"


async def test_a_defect_ends_the_run_as_what_it_is() -> None:
    class Defective(Scripted):
        async def chat(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
            raise ZeroDivisionError
            yield []

    with pytest.raises(ZeroDivisionError):
        await events_of(registry_of(Defective()), placed(ChatLeaf()), "a")


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


def test_broken_is_never_an_items_failure() -> None:
    assert not Broken(Reason.INTERNAL, "").aborts_a_run
