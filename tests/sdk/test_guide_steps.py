"""The guide's steps, in its own spelling, on the real server."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any

import pytest

from stepwire import Client, errors, steps
from stepwire._guide_abort import unless_aborted
from stepwire.guide import AbortController, AbortError, Steps
from tests.program import running_without_loop
from tests.sdk.stepping import ALONE, HANG_S, Heard, refuse_two

MANY = 20


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Generator[Steps]:
    with running_without_loop(tmp_path_factory.mktemp("data"), ALONE) as target, Client(target) as client:
        client.list_steps()  # the connection belongs to all tests
        yield Steps(client)


async def test_the_steps_of_the_guide(guide: Steps) -> None:
    double = guide.createMapStep(lambda x: x * 2)
    assert double.startBlocking([1, 2, 3]) == await double.startAsync([1, 2, 3]) == [2, 4, 6]
    assert double.startBlocking([1]).metadata.outputs == 1
    piped = guide.compose([lambda x: [x], double, lambda x: x + 1])
    assert piped.startBlocking(4) == [9]

    async def work(x: int) -> int:
        return x * 10

    made = guide.createStep({"input": lambda x: x + 1, "process": work, "output": str})
    assert made.startBlocking(1) == ["20"]
    assert guide.createParallelStep({"maxConcurrency": 3, "step": work}).startBlocking([1, 2, 3, 4]) == [10, 20, 30, 40]
    sums = guide.withState({"initialState": 0, "step": lambda x, s: {"output": x + s, "state": x + s}})
    assert guide.compose([steps.spread(), sums]).startBlocking([1, 2, 3]) == [1, 3, 6]
    guide.RegisterStep("tens", work, lambda x: x + 1, str)
    assert await guide.tens.startAsync(1) == ["20"]
    with pytest.raises(AttributeError, match="no step 'nope'"):
        guide.nope  # noqa: B018
    with pytest.raises(TypeError, match="`maxconcurrency` is no option"):
        guide.createParallelStep({"maxconcurrency": 3, "step": work})


def test_retry_of_the_guide_asks_its_functions(guide: Steps) -> None:
    tries = iter(range(10))

    def flaky(x: str) -> str:
        if next(tries) < 2:
            raise errors.Unavailable("down", retry_after_s=0.0)
        return x

    options = {"maxAttempts": 3, "backoff": lambda attempt: 2**attempt, "shouldRetry": lambda error: error.isTransient}
    assert guide.withRetry(flaky, options).startBlocking("a") == ["a"]
    assert next(tries) == 3
    for should in (lambda error, *, more=1: error.isTransient, lambda *told: told[0].isTransient and told[1] < 9, bool):
        tries = iter(range(10))
        assert guide.withRetry(flaky, {**options, "shouldRetry": should}).startBlocking("a") == ["a"]
    with pytest.raises(errors.StepFailed):
        guide.withRetry(refuse_two, options).startBlocking(2)


def test_callbacks_and_events_of_the_guide(guide: Steps) -> None:
    log: list[Any] = []
    heard = Heard()
    flow = guide.withEvents(
        guide.createMapStep(refuse_two),
        {"onStart": log.append, "onComplete": lambda: log.append("complete")},
    )
    flow.startWithCallbacks(
        [1, 2, 3],
        {"onResult": heard.note, "onError": lambda error: heard.note(error.message), "onDone": heard.end},
    )
    assert heard.done.wait(HANG_S)
    assert heard.log == [1, "no two", 3, "done"]
    assert log == [[1, 2, 3], "complete"]


def test_a_callback_of_the_guide_that_nobody_would_await_is_refused(guide: Steps) -> None:
    async def late(_: Any) -> None: ...

    for name in ("onResult", "onError"):
        with pytest.raises(TypeError, match="is a coroutine function"):
            guide.createMapStep(str).startWithCallbacks([1], {name: late})


async def test_a_signal_of_the_guide_ends_the_run(guide: Steps) -> None:
    controller, begun, ended = AbortController(), threading.Event(), threading.Event()

    async def wait(_: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    step = guide.compose([wait])
    running = asyncio.create_task(step.startAsync(1, {"signal": controller.signal}))
    assert await asyncio.to_thread(begun.wait, HANG_S)
    controller.abort()
    controller.abort()
    with pytest.raises(AbortError) as caught:
        await running
    assert caught.value.name == "AbortError"
    assert await asyncio.to_thread(ended.wait, HANG_S)
    with pytest.raises(AbortError):
        await step.startAsync(1, {"signal": controller.signal})
    assert await guide.createMapStep(str).startAsync([1], {"signal": AbortController().signal}) == ["1"]


async def test_a_signal_that_serves_a_whole_program_keeps_nothing_of_calls_that_have_ended() -> None:
    controller = AbortController()

    async def make() -> int:
        return 1

    def kept() -> int:
        gc.collect()
        return sum(type(each) is Future for each in gc.get_objects())

    before = kept()
    for _ in range(MANY):
        assert await unless_aborted(make, {"signal": controller.signal}) == 1
    await asyncio.sleep(0)  # asyncio passes on in the loop's next turn that a future was cancelled
    assert kept() - before < MANY


async def test_a_signal_ends_all_calls_that_run_and_all_that_come_later() -> None:
    controller, begun = AbortController(), asyncio.Queue[None]()

    async def make() -> None:
        begun.put_nowait(None)
        await asyncio.Event().wait()

    assert not controller.signal.aborted
    running = [asyncio.create_task(unless_aborted(make, {"signal": controller.signal})) for _ in range(MANY)]
    for _ in running:
        await begun.get()
    running.pop().cancel()  # which ends no other
    await asyncio.to_thread(controller.abort)
    assert controller.signal.aborted
    for ended in await asyncio.gather(*running, return_exceptions=True):
        assert isinstance(ended, AbortError)
    with pytest.raises(AbortError):
        await unless_aborted(make, {"signal": controller.signal})
    assert begun.empty()
