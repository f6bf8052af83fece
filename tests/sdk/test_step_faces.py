"""The ways to start a step: awaited, blocking, with callbacks, streamed and watched."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from typing import Any

import pytest

from stepwire import AsyncClient, Client, StageEvent, errors, steps
from tests.sdk.stepping import HANG_S, Heard, refuse_two, watched


@pytest.fixture(scope="module")
def client(target: str) -> Generator[Client]:
    with Client(target) as made:
        made.list_steps()  # the connection belongs to all tests
        yield made


DOUBLE = steps.map(lambda x: x * 2)


def for_ever(x: Any) -> Generator[Any]:
    while True:
        yield x


def test_blocking_start_returns_the_values_and_how_it_went(client: Client) -> None:
    results = DOUBLE.on(client).start_blocking([1, 2, 3])
    assert (results, [result.path for result in results.results]) == ([2, 4, 6], [(0,), (1,), (2,)])
    assert results.metadata.outputs == 3
    assert results.metadata.steps[0].type == "map"
    assert results.run_id
    with pytest.raises(errors.StepFailed, match="no two"):
        steps.map(refuse_two).on(client).start_blocking([1, 2])


async def test_awaited_start_works_on_both_clients(target: str, client: Client) -> None:
    async with AsyncClient(target) as api:
        flow = DOUBLE.on(api)
        assert await flow.start_async([1, 2]) == [2, 4]
        assert [result.value async for result in flow.stream([1, 2])] == [2, 4]
    assert await DOUBLE.on(client).start_async([1, 2]) == [2, 4]
    assert [result.value for result in DOUBLE.on(client).stream([1])] == [2]


async def test_cancelling_an_awaited_start_of_a_blocking_client_ends_the_run(client: Client) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def wait(_: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(steps.function(wait).on(client).start_async())
    assert await asyncio.to_thread(begun.wait, HANG_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, HANG_S)


def test_a_function_may_start_another_step_and_wait_for_it(client: Client) -> None:
    inner = DOUBLE.on(client)
    assert client.collect([lambda x: inner.start_async([x]), lambda found: found[0] + 1], 4) == [9]
    assert client.collect([lambda x: inner.start_blocking([x])], 4) == [[8]]


def test_callbacks_are_told_each_result_each_error_and_the_end(client: Client) -> None:
    heard = Heard()
    flow = steps.map(refuse_two).on(client)
    flow.start_with_callbacks(
        [1, 2, 3],
        lambda result: heard.note(result.value),
        on_error=lambda error: heard.note(error.message),
        on_done=heard.end,
        on_cancel=lambda: heard.note("cancel"),
    )
    assert heard.done.wait(HANG_S)
    assert heard.log == [1, "no two", 3, "done"]


async def test_callbacks_on_the_asyncio_client_are_called_in_its_loop(target: str) -> None:
    heard, ended = Heard(), asyncio.Event()

    def end() -> None:
        heard.end()
        ended.set()  # which is for the loop's own thread

    async with AsyncClient(target) as api:
        cancel = (
            steps.map(refuse_two)
            .on(api)
            .start_with_callbacks(
                [1, 2, 3],
                lambda result: heard.note(result.value),
                on_error=lambda error: heard.note(error.message),
                on_done=end,
            )
        )
        await ended.wait()
        cancel()
        assert heard.log == [1, "no two", 3, "done"]


async def test_cancel_is_told_once_and_then_the_end_on_both_clients(target: str, client: Client) -> None:
    async with AsyncClient(target) as api:
        for flow in (steps.function(for_ever).on(api), steps.function(for_ever).on(client)):
            heard, first = Heard(), threading.Event()
            cancel = flow.start_with_callbacks(
                1,
                lambda _, first=first: first.set(),  # type: ignore[misc]
                on_done=heard.end,
                on_cancel=lambda heard=heard: heard.note("cancel"),  # type: ignore[misc]
            )
            assert await asyncio.to_thread(first.wait, HANG_S)
            cancel()
            cancel()
            assert await asyncio.to_thread(heard.done.wait, HANG_S)
            cancel()
            assert heard.log == ["cancel", "done"]


def test_events_of_a_step_are_told_and_those_around_it_are_not(client: Client) -> None:
    log: list[Any] = []
    flow: list[steps.StepLike] = [
        steps.spread(),
        watched(steps.compose([refuse_two, lambda x: x * 10]), log),
        lambda x: x + 1,
    ]
    assert client.collect(flow, [1, 2], on_error="continue")[0] == 11
    assert sorted(map(str, log[:-1])) == sorted(
        map(str, [("start", 1), ("result", 10), ("start", 2), ("error", "no two")])
    )
    assert log[-1] == "complete"


def test_a_step_that_is_watched_twice_tells_both(client: Client) -> None:
    inner: list[Any] = []
    outer: list[Any] = []
    assert client.collect(steps.map(watched(watched("upper", inner), outer)), ["a"]) == ["A"]
    assert inner == outer == [("start", "a"), ("result", "A"), "complete"]
    assert client.collect(watched("upper", []).options(name="loud"), "a").metadata.steps[0].name == "loud"


def test_errors_that_a_retry_made_good_are_not_told(client: Client) -> None:
    log: list[Any] = []
    tries = iter(range(10))

    def flaky(x: str) -> str:
        if x == "bad" or next(tries) < 2:
            raise errors.Unavailable(f"{x} is down", retry_after_s=0.0)
        return x

    flow = steps.map(watched(steps.with_retry(flaky, backoff=lambda attempt: 0), log))
    values = client.collect(flow, ["good", "bad"], on_error="continue")
    assert values[0] == "good"
    assert log == [("start", "good"), ("result", "good"), ("start", "bad"), ("error", "bad is down"), "complete"]


def test_the_error_that_ends_a_run_is_told_when_its_tries_are_over(client: Client) -> None:
    log: list[Any] = []

    def down(_: Any) -> None:
        raise errors.Unavailable("down", retry_after_s=0.0)

    flow = watched(steps.with_retry(down, max_attempts=2, backoff=lambda attempt: 0), log)
    with pytest.raises(errors.StepFailed, match="down"):
        client.collect(flow, "a")
    assert log == [("start", "a"), ("error", "down"), "complete"]


def test_an_item_that_fails_for_good_does_not_tell_of_another_that_is_tried_again(client: Client) -> None:
    log: list[Any] = []
    tries: list[str] = []
    is_asked, has_failed = threading.Event(), threading.Event()

    def fail_at_first(x: str) -> str:
        tries.append(x)
        if x == "good" and tries.count(x) == 2:
            return x
        assert x == "good" or is_asked.wait(HANG_S)
        raise errors.Unavailable("down", retry_after_s=0.0)

    def when(_error: errors.Error, _attempt: int) -> bool:
        if is_asked.is_set():
            return False
        is_asked.set()
        return has_failed.wait(HANG_S)

    flow = steps.with_retry(fail_at_first, when=when, backoff=lambda attempt: 0)
    for result in client.run(watched(steps.parallel(flow, as_completed=True), log), ["good", "bad"]):
        if result.error is not None:
            has_failed.set()
    assert tries.count("good") == 2
    assert [told for told in log if told[0] == "error"] == [("error", "down")]


async def test_events_are_told_to_coroutines_and_what_they_raise_ends_the_run(target: str) -> None:
    log: list[Any] = []

    async def note(value: Any) -> None:
        await asyncio.sleep(0)
        log.append(value)

    async def stop(_: Any) -> None:
        raise LookupError("enough")

    async with AsyncClient(target) as api:
        assert await api.collect(steps.with_events("upper", on_result=note), "a") == ["A"]
        assert log == ["A"]
        with pytest.raises(LookupError, match="enough"):
            await api.collect(steps.with_events("upper", on_result=stop), "a")


def test_stage_events_say_values_errors_and_attempts(client: Client) -> None:
    tries = iter(range(10))

    def flaky(x: str) -> str:
        if next(tries) < 1:
            raise errors.Unavailable("down", retry_after_s=0.0)
        return x

    flow = steps.with_retry(flaky, backoff=lambda _: 0)
    seen = [event for event in client.run_events(flow, "a") if isinstance(event, StageEvent)]
    told = {(event.kind, event.value, event.error.message if event.error else "", event.attempt) for event in seen}
    assert {("started", "a", "", 0), ("error", None, "down", 0), ("retrying", None, "", 2)} <= told


async def test_callbacks_that_nobody_would_await_are_refused(target: str, client: Client) -> None:
    async def late(_: Any = None) -> None: ...

    async with AsyncClient(target) as api:
        for start in (DOUBLE.on(api).start_with_callbacks, DOUBLE.on(client).start_with_callbacks):
            with pytest.raises(TypeError, match="on_result is a coroutine function"):
                start([1], late)
            with pytest.raises(TypeError, match="on_done is a coroutine function"):
                start([1], print, on_done=late)


def test_an_error_mode_that_is_none_is_refused_with_those_there_are(client: Client) -> None:
    wrong: Any = "raise"
    for call in (client.collect, lambda *given, **options: list(client.run(*given, **options))):
        with pytest.raises(errors.InvalidRequest, match="on_error: `raise` is none of continue, fail_fast"):
            call("upper", "a", on_error=wrong)
