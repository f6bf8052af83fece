"""How far trying again may go: the retries of a run, and the time there is for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator

import pytest

from stepwired.errors import Reason, Throttled, Unavailable
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps.named import NamedStep
from stepwired.steps.registry import Registry
from stepwired.steps.remote import Facts
from stepwired.steps.spec import Emitted, Javascript, Named, Parallel, Retry, Spec, Timeout
from tests.steps.conftest import Functions, Scripted, events_of, finished_in, placed, registry_of, results_in

BUSY = Spec(Named("busy"), "busy")
WHEN = Spec(Javascript("when"), "when")
BACKOFF = Spec(Javascript("backoff"), "backoff")
NO = Spec(Javascript("no"), "no")


def busy(wait_s: float = 0.0) -> NamedStep:
    async def function(value: Json) -> AsyncGenerator[Json, None]:
        await asyncio.sleep(0)
        raise Unavailable(Reason.PROVIDER_OVERLOADED, "busy", retry_after_s=wait_s)
        yield value

    return NamedStep("busy", function)


def registry(step: NamedStep, limits: Limits | None = None) -> Registry:
    functions = Functions({"when": lambda *_: True, "no": lambda *_: False, "backoff": lambda *_: 0})
    return registry_of(Scripted(), limits, named=[step], functions=functions)


@pytest.mark.parametrize(
    "functions",
    [{}, {"when": WHEN}, {"backoff": BACKOFF}, {"when": WHEN, "backoff": BACKOFF}],
    ids=["none", "when", "backoff", "both"],
)
async def test_all_retries_of_a_run_are_counted_however_long_functions_take_to_decide(
    functions: dict[str, Spec],
) -> None:
    again = Retry(BUSY, max_attempts=10, initial_delay_s=0.0, jitter=0.0, **functions)  # type: ignore[arg-type]
    steps = placed(Parallel(Spec(again, "retry"), 256))
    events = await events_of(registry(busy(), Limits(run_retries=20)), steps, list(range(256)))
    assert len(results_in(events)) == 256
    [retry] = finished_in(events).metadata.steps[0].steps
    assert retry.attempts == 256 + 20


async def test_a_retry_that_a_function_refuses_is_left_for_others() -> None:
    refusing = Spec(Retry(BUSY, max_attempts=10, when=NO), "refusing")
    wanting = Spec(Retry(refusing, max_attempts=3, initial_delay_s=0.0), "wanting")
    events = await events_of(registry(busy(), Limits(run_retries=2)), [wanting], 1)
    assert finished_in(events).metadata.steps[0].attempts == 3


async def test_a_wait_beyond_the_limit_of_a_timeout_around_fails_at_once_and_says_when_to_come_back() -> None:
    begun_s = time.monotonic()
    steps = placed(Timeout(Spec(Retry(BUSY), "retry"), 60.0))
    [failure] = results_in(await events_of(registry(busy(600.0)), steps, 1))
    assert isinstance(failure, Unavailable)
    assert failure.retry_after_s == 600.0
    assert time.monotonic() - begun_s < 60


@pytest.mark.parametrize("emitted", Emitted)
@pytest.mark.parametrize(("most", "attempts"), [(1, {}), (2, {"attempts": "2"}), (3, {"attempts": "3"})])
async def test_a_failure_says_how_often_it_was_tried(emitted: Emitted, most: int, attempts: dict[str, str]) -> None:
    step = placed(Retry(BUSY, max_attempts=most, initial_delay_s=0.0, emitted=emitted))
    [failure] = results_in(await events_of(registry(busy()), step, 1, events=True))
    assert isinstance(failure, Unavailable)
    assert failure.metadata == {"stepPath": BUSY.path, **attempts}


async def test_of_two_retries_the_outer_one_says_how_often_it_tried() -> None:
    inner = Spec(Retry(BUSY, max_attempts=3, initial_delay_s=0.0), "inner")
    step = placed(Retry(inner, max_attempts=2, initial_delay_s=0.0))
    [failure] = results_in(await events_of(registry(busy()), step, 1))
    assert isinstance(failure, Unavailable)
    assert failure.metadata["attempts"] == "2"


async def test_a_failure_behind_a_result_says_it_too() -> None:
    def function(value: Json, facts: Facts) -> Iterator[Json]:
        if facts.attempt > 1:
            yield "made"
        raise Unavailable(Reason.PROVIDER_OVERLOADED, "busy")

    flaky = registry(NamedStep("busy", function, quick=True, takes_facts=True))
    made, failure = results_in(await events_of(flaky, placed(Retry(BUSY, initial_delay_s=0.0)), 1))
    assert made == "made"
    assert isinstance(failure, Unavailable)
    assert failure.metadata["attempts"] == "2"


async def test_a_failure_of_what_is_held_back_says_it_too() -> None:
    def function(value: Json, facts: Facts) -> Iterator[Json]:
        if facts.attempt == 1:
            raise Unavailable(Reason.PROVIDER_OVERLOADED, "busy")
        yield "x" * 5000

    large = registry(NamedStep("busy", function, quick=True, takes_facts=True), Limits(retry_buffer_bytes=2000))
    again = Retry(BUSY, initial_delay_s=0.0, emitted=Emitted.BUFFER)
    [failure] = results_in(await events_of(large, placed(again), 1))
    assert isinstance(failure, Throttled)
    assert failure.metadata["limitName"] == "retry_buffer_bytes"
    assert failure.metadata["attempts"] == "2"
