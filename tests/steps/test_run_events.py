"""What a run tells beside its results: events of its steps, and the account at the end."""

from __future__ import annotations

from stepwired.events import Message
from stepwired.steps.registry import Registry
from stepwired.steps.results import Outcome, RunFinished, RunStarted, StageEvent, StageEventKind
from stepwired.steps.spec import ChatLeaf, Compose, Map, Named, Spec, Spread
from tests.steps.conftest import events_of, finished_in, leaf, placed, results_in


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
