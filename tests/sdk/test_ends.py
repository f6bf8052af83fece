"""Who watches a step is told its end, once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from typing import Any

import pytest

from stepwire import Client, errors, steps
from tests.sdk.stepping import HANG_S, refuse_two, watched


@pytest.fixture(scope="module")
def client(target: str) -> Generator[Client]:
    with Client(target) as made:
        made.list_steps()  # the connection belongs to all tests
        yield made


@pytest.mark.parametrize("around", [lambda step: step, lambda step: steps.compose([step, lambda x: x])])
@pytest.mark.parametrize("made", [lambda: refuse_two, lambda: steps.compose([refuse_two])])
def test_the_end_is_told_once_where_a_run_ends_with_its_first_error(client: Client, around: Any, made: Any) -> None:
    log: list[Any] = []
    flow = around(watched(made(), log))
    assert client.collect(flow, 1) == [1]
    assert log == [("start", 1), ("result", 1), "complete"]
    log.clear()
    with pytest.raises(errors.StepFailed, match="no two"):
        client.collect(flow, 2)
    assert log == [("start", 2), ("error", "no two"), "complete"]


def test_the_end_is_told_of_a_map_whose_item_ends_the_run(client: Client) -> None:
    log: list[Any] = []
    with pytest.raises(errors.StepFailed, match="no two"):
        client.collect(watched(steps.map(refuse_two), log), [1, 2, 3])
    assert log.count("complete") == 1
    assert log[-2:] == [("error", "no two"), "complete"]


def test_the_end_is_told_of_all_steps_of_a_run_that_an_item_has_ended(client: Client) -> None:
    outer: list[Any] = []
    inner: list[Any] = []
    never: list[Any] = []
    flow = watched(steps.compose([watched(refuse_two, inner), watched(lambda x: x, never)]), outer)
    with pytest.raises(errors.StepFailed, match="no two"):
        client.collect(flow, 2)
    assert inner == outer == [("start", 2), ("error", "no two"), "complete"]
    assert never == ["complete"]


def test_the_end_tells_nothing_of_another_item_that_was_to_be_tried_again(client: Client) -> None:
    log: list[Any] = []
    is_asked = threading.Event()

    def fail(x: str) -> None:
        assert x == "good" or is_asked.wait(HANG_S)
        raise errors.Unavailable(f"{x} is down", retry_after_s=0.0)

    async def when(error: errors.Error, _attempt: int) -> bool:
        if error.message == "bad is down":
            return False
        is_asked.set()
        await asyncio.Event().wait()  # until the run has ended
        return True

    flow = steps.parallel(steps.with_retry(fail, when=when, backoff=lambda _: 0), as_completed=True)
    with pytest.raises(errors.StepFailed, match="bad is down"):
        client.collect(watched(flow, log), ["good", "bad"])
    assert log == [("start", ["good", "bad"]), ("error", "bad is down"), "complete"]


def test_the_end_is_not_told_where_a_callback_or_the_call_itself_fails(client: Client) -> None:
    log: list[Any] = []

    def raises(_: Any) -> None:
        client.collect(refuse_two, 2)  # whose error looks like that of an item of the outer run

    flow = steps.with_events("upper", on_result=raises, on_complete=lambda: log.append("complete"))
    with pytest.raises(errors.StepFailed, match="no two"):
        client.collect(flow, "a")
    with pytest.raises(errors.InvalidRequest):
        client.collect(watched("nosuch", log), "a")
    assert log == []
