"""`collect` and the blocking forms give all values there are, in the order of their paths, however many."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Value

from stepwire import AsyncClient, Client, StageEvent, StepResult, errors, steps
from stepwire.v1 import step_run_pb2
from tests.sdk.scripted import Server

MANY = 10_001
"""More than one answer holds."""


def test_more_results_than_one_answer_holds_are_collected(target: str) -> None:
    items = list(range(MANY))
    with Client(target) as client:
        collected = client.collect([{"spread": {}}], items)
        assert collected == items
        assert collected.metadata.outputs == MANY
        assert collected.results[-1].path == (MANY - 1,)
        assert collected.run_id
        assert steps.spread().on(client).start_blocking(items) == items


async def test_results_larger_than_one_answer_are_collected(target: str) -> None:
    flow = steps.compose([steps.spread(), steps.render("{{.}}{{.}}{{.}}")])
    async with AsyncClient(target) as client:
        collected = await flow.on(client).start_async([letter * 300_000 for letter in "abcdef"])
    assert collected == [letter * 900_000 for letter in "abcdef"]


def _result(number: int) -> step_run_pb2.RunStepResponse:
    return step_run_pb2.RunStepResponse(path=[number], value=Value(number_value=number))


async def test_results_that_came_as_they_were_ready_are_in_the_order_of_their_paths(
    client: AsyncClient, server: Server
) -> None:
    async def as_completed(request: Any, context: Any) -> Any:
        yield step_run_pb2.RunStepResponse(started=step_run_pb2.RunStarted(run_id="r1"))
        for number in (2, 0, 10, 1):
            yield _result(number)
        yield step_run_pb2.RunStepResponse(finished=step_run_pb2.RunFinished(results=4))

    server.on["RunStep"] = as_completed
    assert await client.collect("upper") == [0, 1, 2, 10]
    assert [result.value async for result in client.run("upper")] == [2, 0, 10, 1]


async def test_a_collected_run_may_be_silent_for_as_long_as_it_takes(server: Server) -> None:
    async with AsyncClient(server.target, idle_s=0) as client:
        assert await client.collect("upper", "a") == ["A"]
        with pytest.raises(errors.DeadlineExceeded):
            async for _ in client.run("upper", "a"):
                pass


async def test_a_collected_run_that_ends_without_its_end_has_failed(client: AsyncClient, server: Server) -> None:
    async def cut(request: Any, context: Any) -> Any:
        yield _result(0)

    server.on["RunStep"] = cut
    with pytest.raises(errors.ServerError, match="without its last event"):
        await client.collect("upper")


def watched(step: steps.StepLike) -> steps.Flow:
    return steps.with_events(step, on_complete=lambda: None)


RESTARTING: list[Any] = [
    {"retry": {"step": {"named": "upper"}, "emitted": "RETRY_EMITTED_RESTART"}},
    {"chat": {"emit": "CHAT_EMIT_DELTAS", "options": {"restart": True}}},
    {"chat": {"emit": "CHAT_EMIT_DELTAS", "options": {"response_format": {"json_object": True, "retry": True}}}},
    steps.compose([steps.with_retry("upper", emitted="restart")]),
]


@pytest.mark.parametrize("step", [*RESTARTING, *map(watched, RESTARTING)])
async def test_steps_that_may_take_results_back_are_refused_where_nothing_would_tell(target: str, step: Any) -> None:
    async with AsyncClient(target) as client:
        with pytest.raises(errors.InvalidRequest, match="`run_events` does") as caught:
            await client.collect(step, "a")
        assert (caught.value.code, caught.value.reason) == ("INVALID_ARGUMENT", "STEP_GRAPH_INVALID")
        [fault] = caught.value.violations
        assert fault.field.startswith("steps[0]")
        with pytest.raises(errors.InvalidRequest, match="`run_events` does"):
            _ = [result async for result in client.run(step, "a")]


async def test_the_events_of_a_run_say_which_results_were_taken_back(target: str) -> None:
    tries = iter(range(10))

    def flaky(x: str) -> Generator[str]:
        yield x
        if next(tries) == 0:
            raise errors.Unavailable("down", retry_after_s=0.0)
        yield x * 2

    flow = watched(steps.with_retry(flaky, backoff=lambda _: 0, emitted="restart"))
    told: list[Any] = []
    async with AsyncClient(target) as client:
        async for event in client.run_events(flow, "a"):
            if isinstance(event, StepResult):
                told.append(event.value)
            elif isinstance(event, StageEvent) and event.kind == "restarted":
                told.append("restarted")
    assert told == ["a", "restarted", "a", "aa"]


async def test_a_pipeline_of_the_servers_own_that_takes_results_back_ends_the_run(
    client: AsyncClient, server: Server
) -> None:
    async def restarting(request: Any, context: Any) -> Any:
        kind = step_run_pb2.STAGE_EVENT_KIND_RESTARTED
        yield _result(0)
        yield step_run_pb2.RunStepResponse(stage=step_run_pb2.StageEvent(step_path="steps[0].named", kind=kind))
        yield _result(0)
        yield step_run_pb2.RunStepResponse(finished=step_run_pb2.RunFinished(results=1))

    server.on["RunStep"] = restarting
    with pytest.raises(errors.InvalidRequest, match=r"steps\[0\].named: what begins again") as caught:
        await client.collect(watched("kept"), "a")
    assert caught.value.reason == "STEP_GRAPH_INVALID"
    results = client.run(watched("kept"), "a")
    assert (await anext(results)).value == 0
    with pytest.raises(errors.InvalidRequest):
        await anext(results)
    assert len([event async for event in client.run_events("kept", "a")]) == 4
