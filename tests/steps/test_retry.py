"""Trying again: when, how often, after which wait, and what becomes of what was made before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from stepwired.errors import Failure, InvalidRequest, Misconfigured, Reason, StepFailed, Throttled, Unavailable
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps.named import NamedStep
from stepwired.steps.registry import Registry
from stepwired.steps.remote import Facts
from stepwired.steps.results import ErrorMode, Item, RunEvent, StageEvent, StageEventKind
from stepwired.steps.spec import Compose, Emitted, Gather, Javascript, Map, Named, Retry, Spec, Spread, State
from tests.steps.conftest import Functions, Scripted, events_of, finished_in, placed, registry_of, results_in


def failing(failure: Failure, times: int, outputs: tuple[Json, ...] = ("made",)) -> NamedStep:
    """Gives `outputs`, and then fails in the first attempts."""

    def function(value: Json, facts: Facts) -> Iterator[Json]:
        yield from outputs
        if facts.attempt <= times:
            raise failure

    return NamedStep("flaky", function, quick=True, takes_facts=True)


def unavailable(wait_s: float | None = None) -> Failure:
    return Unavailable(Reason.PROVIDER_OVERLOADED, "busy", retry_after_s=wait_s)


FLAKY = Spec(Named("flaky"), "steps[0].retry.step")
WHEN = Spec(Javascript("when"), "steps[0].retry.when")
BACKOFF = Spec(Javascript("backoff"), "steps[0].retry.backoff")


def retrying(step: Spec = FLAKY, **said: object) -> Retry:
    return Retry(step, **{"initial_delay_s": 0.0, **said})  # type: ignore[arg-type]


def registry(step: NamedStep, limits: Limits | None = None, **functions: object) -> Registry:
    return registry_of(Scripted(), limits, named=[step], functions=Functions(functions))  # type: ignore[arg-type]


def told(events: list[RunEvent], kind: StageEventKind) -> list[StageEvent]:
    return [event for event in events if isinstance(event, StageEvent) and event.kind is kind]


async def test_a_step_that_fails_is_run_again_and_its_attempts_are_counted_and_told() -> None:
    events = await events_of(registry(failing(unavailable(), 2, ())), placed(retrying()), 1, events=True)
    assert results_in(events) == []
    root = finished_in(events).metadata
    [retry] = root.steps
    assert (retry.inputs, retry.attempts, retry.errors, root.errors) == (1, 3, 0, 0)
    assert (retry.steps[0].inputs, retry.steps[0].errors) == (3, 2)
    assert finished_in(events).errors == 0
    again = told(events, StageEventKind.RETRYING)
    assert [(event.step_path, event.attempt, event.path) for event in again] == [
        ("steps[0]", 2, ()),
        ("steps[0]", 3, ()),
    ]
    assert all(event.delay_s == 0 for event in again)


@pytest.mark.parametrize(
    ("emitted", "wanted"), [(Emitted.FAIL, ["made", "PROVIDER_OVERLOADED"]), (Emitted.BUFFER, ["made"])]
)
async def test_results_of_a_failed_attempt_are_never_given_twice(emitted: Emitted, wanted: list[str]) -> None:
    events = await events_of(registry(failing(unavailable(), 1)), placed(retrying(emitted=emitted)), 1)
    assert [getattr(result, "reason", result) for result in results_in(events)] == wanted


async def test_what_is_held_back_is_not_given_if_the_last_attempt_fails_too() -> None:
    step = retrying(max_attempts=2, emitted=Emitted.BUFFER)
    [failure] = results_in(await events_of(registry(failing(unavailable(), 9)), placed(step), 1))
    assert isinstance(failure, Unavailable)


async def test_more_than_may_be_held_back_fails_the_item() -> None:
    flaky = failing(unavailable(), 0, ("x" * 600,) * 3)
    step = retrying(emitted=Emitted.BUFFER)
    [failure] = results_in(await events_of(registry(flaky, Limits(retry_buffer_bytes=1000)), placed(step), 1))
    assert isinstance(failure, Throttled)
    assert failure.metadata["limitName"] == "retry_buffer_bytes"


async def test_a_restart_says_that_what_was_given_no_longer_holds_between_the_two() -> None:
    step = retrying(emitted=Emitted.RESTART)
    events = await events_of(registry(failing(unavailable(), 1)), placed(step), 1, events=True)
    order = [
        event.result if isinstance(event, Item) else event.kind
        for event in events
        if isinstance(event, Item) or (isinstance(event, StageEvent) and event.kind is StageEventKind.RESTARTED)
    ]
    assert order == ["made", StageEventKind.RESTARTED, "made"]
    [restarted] = told(events, StageEventKind.RESTARTED)
    assert restarted.attempt == 2


@pytest.mark.parametrize(
    "failure",
    [
        Misconfigured(Reason.PROVIDER_API_KEY_INVALID, ""),
        Throttled(Reason.PROVIDER_QUOTA_EXHAUSTED, ""),
        InvalidRequest(Reason.CONTEXT_LENGTH_EXCEEDED, ""),
        InvalidRequest(Reason.STEP_INPUT_INVALID, ""),
    ],
)
async def test_what_can_only_fail_again_is_never_tried_again_whatever_a_function_says(failure: Failure) -> None:
    functions = Functions({"when": lambda error, attempt, meta: True})
    registry = registry_of(Scripted(), named=[failing(failure, 9, ())], functions=functions)
    events = await events_of(registry, placed(retrying(when=WHEN)), 1)
    assert results_in(events) == [failure]
    assert functions.batches == []


async def test_a_function_sees_the_error_and_the_attempt_and_decides() -> None:
    seen: list[tuple[Json, Json]] = []

    def when(error: Json, attempt: Json, meta: Json) -> Json:
        seen.append((error, attempt))
        return attempt < 2  # type: ignore[operator]

    failure = StepFailed(Reason.STEP_EXECUTION_FAILED, "no", metadata={"a": "b"})
    events = await events_of(registry(failing(failure, 9, ()), when=when), placed(retrying(when=WHEN)), 1)
    assert results_in(events) == [failure]
    assert [attempt for _, attempt in seen] == [1, 2]
    error = seen[0][0]
    assert isinstance(error, dict)
    assert error == {
        "reason": "STEP_EXECUTION_FAILED",
        "message": "no",
        "code": 2,
        "metadata": {"a": "b", "stepPath": FLAKY.path},
        "isTransient": False,
        "retryDelayMs": None,
    }


@pytest.mark.parametrize(
    ("answer", "functions"), [("yes", "when"), (-1, "backoff"), ("1", "backoff"), (True, "backoff")]
)
async def test_a_function_that_answers_wrongly_is_the_failure(answer: Json, functions: str) -> None:
    step = retrying(**{functions: WHEN if functions == "when" else BACKOFF})
    given: dict[str, Any] = {functions: lambda *_: answer}
    [failure] = results_in(await events_of(registry(failing(unavailable(), 9, ()), **given), placed(step), 1))
    assert isinstance(failure, StepFailed)
    assert failure.reason is Reason.STEP_OUTPUT_INVALID
    assert failure.metadata["stepPath"] == f"steps[0].retry.{functions}"


async def test_a_backoff_function_counts_from_zero_and_says_milliseconds() -> None:
    asked: list[Json] = []

    def backoff(attempt: Json, meta: Json) -> Json:
        asked.append(attempt)
        return 2**attempt * 1  # type: ignore[operator]

    flaky = registry(failing(unavailable(), 2, ()), backoff=backoff)
    events = await events_of(flaky, placed(retrying(backoff=BACKOFF)), 1, events=True)
    assert asked == [0, 1]
    assert [event.delay_s for event in told(events, StageEventKind.RETRYING)] == [0.001, 0.002]


async def test_the_wait_grows_to_its_longest_within_the_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(delay_s: float) -> None:
        waits.append(delay_s)

    monkeypatch.setattr("stepwired.steps.retry.asyncio.sleep", sleep)
    step = retrying(max_attempts=6, initial_delay_s=1.0, multiplier=3.0, max_delay_s=20.0, jitter=0.1)
    await events_of(registry(failing(unavailable(), 9, ())), placed(step), 1)
    assert len(waits) == 5
    for wait, middle in zip(waits, [1, 3, 9, 20, 20], strict=True):
        assert 0.9 * middle <= wait <= 1.1 * middle


@pytest.mark.parametrize(("wish_s", "delay_s", "wait_s"), [(0.02, 0.0, 0.02), (0.01, 0.03, 0.03), (None, 0.01, 0.01)])
async def test_who_wishes_a_longer_wait_is_granted_it_and_never_a_shorter(
    wish_s: float | None, delay_s: float, wait_s: float
) -> None:
    step = retrying(initial_delay_s=delay_s, jitter=0.0)
    events = await events_of(registry(failing(unavailable(wish_s), 1, ())), placed(step), 1, events=True)
    [event] = told(events, StageEventKind.RETRYING)
    assert event.delay_s == wait_s


async def test_a_wait_beyond_the_deadline_fails_at_once_and_says_when_to_come_back() -> None:
    begun_s = time.monotonic()
    flaky = registry(failing(unavailable(600.0), 1, ()))
    [failure] = results_in(await events_of(flaky, placed(retrying()), 1, time_left_s=60.0))
    assert isinstance(failure, Unavailable)
    assert failure.retry_after_s == 600.0
    assert time.monotonic() - begun_s < 60


async def test_all_retry_steps_of_a_run_share_its_budget() -> None:
    flaky = registry(failing(unavailable(), 99, ()), Limits(run_retries=7))
    events = await events_of(flaky, placed(Spread(), retrying(max_attempts=4)), [1, 2, 3, 4])
    assert len(results_in(events)) == 4
    assert finished_in(events).metadata.steps[1].attempts == 4 + 7


async def test_a_state_within_is_as_it_was_before_the_attempt_that_failed() -> None:
    state = Spec(State(Spec(Javascript("add"), "s"), 0), "state")
    inner = Spec(Compose((state, FLAKY)), "steps[1].retry.step")

    def add(value: Json, state: Json, meta: Json) -> Json:
        return {"outputs": [value], "state": state + 1}  # type: ignore[operator]

    def function(value: Json, facts: Facts) -> Json:
        if facts.attempt <= 2:
            raise unavailable()
        return value

    flaky = NamedStep("flaky", function, quick=True, takes_facts=True)
    after = Spec(State(Spec(Javascript("read"), "s"), None), "read")
    seen: list[Json] = []

    def adding(value: Json, state: Json, meta: Json) -> Json:
        seen.append(state)
        return add(value, state, meta)

    functions: dict[str, Any] = {"add": adding, "read": lambda value, state, meta: {"output": value}}
    events = await events_of(registry(flaky, **functions), placed(Spread(), retrying(inner), after), [5, 6])
    assert results_in(events) == [5, 6]
    assert seen == [0, 0, 0, 1, 1, 1]


async def test_a_last_attempt_gives_all_that_it_makes_behind_its_first_failure() -> None:
    def function(value: Json, facts: Facts) -> Json:
        if value == 1:
            raise unavailable()
        return value

    flaky = NamedStep("flaky", function, quick=True, takes_facts=True)
    inner = Spec(Map(FLAKY), "steps[0].retry.step")
    found = results_in(await events_of(registry(flaky), placed(retrying(inner, max_attempts=2)), [1, 2, 1, 3]))
    assert [getattr(result, "reason", result) for result in found] == [
        "PROVIDER_OVERLOADED",
        2,
        "PROVIDER_OVERLOADED",
        3,
    ]


@pytest.mark.parametrize(
    ("steps", "events", "is_good"),
    [
        ([retrying(emitted=Emitted.RESTART)], True, True),
        ([retrying(emitted=Emitted.RESTART)], False, False),
        ([retrying(emitted=Emitted.RESTART), Gather()], True, False),
        ([Spread(), retrying(emitted=Emitted.RESTART)], True, True),
        ([Spec(retrying(emitted=Emitted.RESTART), "steps[0]", max_concurrency=2)], True, False),
        ([Map(Spec(retrying(emitted=Emitted.RESTART), "m"))], True, True),
        ([Map(Spec(retrying(emitted=Emitted.RESTART), "m", max_concurrency=2))], True, False),
        ([Compose((Spec(retrying(emitted=Emitted.RESTART), "c"), Spec(Spread(), "d")))], True, False),
        ([retrying(Spec(retrying(emitted=Emitted.RESTART), "r"))], True, False),
    ],
)
async def test_a_restart_may_stand_only_where_its_reader_sees_it(
    steps: list[Spec], events: bool, is_good: bool
) -> None:
    flaky = registry(failing(unavailable(), 0))
    faults = await flaky.validate(placed(*steps), has_events=events)
    assert [fault.field.endswith(".retry.emitted") for fault in faults] == [True] * (not is_good)


async def test_leaving_while_it_waits_leaves_nothing() -> None:
    before = asyncio.all_tasks()
    waiting = asyncio.Event()
    flaky = failing(unavailable(), 9, ())

    async def read() -> None:
        step = retrying(initial_delay_s=3600.0)
        run = registry(flaky).run(placed(step), 1, error_mode=ErrorMode.CONTINUE, events=True, run_id="r")
        async for event in run:
            if isinstance(event, StageEvent) and event.kind is StageEventKind.RETRYING:
                waiting.set()

    reading = asyncio.create_task(read())
    await asyncio.wait_for(waiting.wait(), 10)
    reading.cancel()
    await asyncio.wait([reading])
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
