from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import json_format

from stepwire.v1 import step_run_pb2
from stepwired.events import Chat, ChatRequest, Embed, Json
from stepwired.limits import Limits
from stepwired.rpc.convert.chat import chat_request_of_json
from stepwired.rpc.convert.runs import as_json
from stepwired.steps import named
from stepwired.steps.leaves import Models
from stepwired.steps.registry import Registry
from stepwired.store.codec.values import json_of_value
from tests.rpc.serving import Client, count, echo, serve, told, within

LIMITS = Limits()


@named.step("double", version="2")
async def double(value: Any) -> Any:
    return value * 2


@named.step("fail_on_odd")
async def fail_on_odd(value: Any) -> Any:
    if value % 2:
        raise ValueError("odd")
    return value


@named.step("backwards")
async def backwards(value: int) -> int:
    for _ in range(100 * (9 - value)):
        await asyncio.sleep(0)
    return value


waiting = asyncio.Event()


@named.step("wait")
async def wait(_: Any) -> Any:
    waiting.set()
    try:
        await asyncio.Event().wait()
    finally:
        waiting.clear()


def registry(chat: Chat = echo, embed: Embed = count, limits: Limits = LIMITS) -> Registry:
    def request(value: Json) -> ChatRequest:
        return chat_request_of_json(value, limits)

    points = [
        EntryPoint(name, f"{__name__}:{name}", "stepwire.steps")
        for name in ("double", "fail_on_odd", "backwards", "wait")
    ]
    return Registry(Models(chat, embed, request, as_json), named.discover(points), limits)


@asynccontextmanager
async def running(limits: Limits = LIMITS) -> AsyncIterator[Client]:
    async with serve(steps=registry(limits=limits), limits=limits) as client:
        yield client


def asked(text: str) -> step_run_pb2.RunStepRequest:
    return json_format.Parse(text, step_run_pb2.RunStepRequest())


def collected(text: str) -> step_run_pb2.CollectStepRequest:
    return json_format.Parse(text, step_run_pb2.CollectStepRequest())


async def events(client: Client, text: str) -> list[step_run_pb2.RunStepResponse]:
    return [event async for event in client.steps.RunStep(asked(text))]


PIPELINE = '{"steps": [{"map": {"step": {"named": "double"}}}], "input": [1, "a", 2]}'


async def test_a_run_streams_results_with_their_places() -> None:
    async with running() as client:
        call = client.steps.RunStep(asked(PIPELINE))
        told_of = [event async for event in call]
        run_id = dict(await call.initial_metadata())["x-run-id"]
    started, *results, end = told_of
    assert [event.seq for event in told_of] == list(range(1, len(told_of) + 1))
    assert started.started.run_id == run_id != ""
    assert [(list(event.path), json_of_value(event.value)) for event in results] == [([0], 2), ([1], "aa"), ([2], 4)]
    assert (end.finished.results, end.finished.errors) == (3, 0)
    assert end.finished.metadata.steps[0].step_path == "steps[0]"
    assert end.finished.metadata.steps[0].outcome == step_run_pb2.STEP_OUTCOME_COMPLETED


async def test_a_failure_keeps_its_place() -> None:
    async with running() as client:
        told_of = await events(client, '{"steps": [{"map": {"step": {"named": "fail_on_odd"}}}], "input": [2, 1, 4]}')
    assert [event.WhichOneof("event") for event in told_of] == ["started", "value", "failure", "value", "finished"]
    failure = told_of[2].failure
    assert failure.reason == "STEP_EXECUTION_FAILED"
    assert failure.code == grpc.StatusCode.UNKNOWN.value[0]
    assert failure.metadata["stepPath"] == "steps[0].map.step"


async def test_every_kind_of_result_reaches_the_wire() -> None:
    async with running() as client:
        (_, vector, _) = await events(client, '{"steps": [{"embed": {}}], "input": "cat"}')
        (_, message, _) = await events(client, '{"steps": [{"chat": {}}], "input": "say this"}')
        (_, hit, *_) = await events(
            client, '{"steps": [{"search": {"top_k": 1}}], "input": {"query": "a", "documents": ["b"]}}'
        )
    assert list(vector.embedding.values) == [3, 1]
    assert (message.message.role, message.message.text) == ("assistant", "saythis")
    assert hit.value.struct_value["text"] == "b"


async def test_results_that_came_in_any_order_are_collected_in_that_of_their_paths() -> None:
    parallel = '{"parallel": {"step": {"named": "backwards"}, "as_completed": true}}'
    async with running() as client:
        streamed = await events(client, f'{{"steps": [{parallel}], "input": [1, 2, 3, 4]}}')
        reply = await client.steps.CollectStep(collected(f'{{"steps": [{parallel}], "input": [1, 2, 3, 4]}}'))
    assert [list(event.path) for event in streamed[1:-1]] == [[3, 0], [2, 0], [1, 0], [0, 0]]
    assert [list(result.path) for result in reply.results] == [[0, 0], [1, 0], [2, 0], [3, 0]]
    assert [json_of_value(result.value) for result in reply.results] == [1, 2, 3, 4]


async def test_collecting_returns_all_results() -> None:
    async with running() as client:
        reply = await client.steps.CollectStep(collected(PIPELINE))
        mine = await client.steps.CollectStep(collected('{"run_id": "my-run", "input": 1}'))
    assert [json_of_value(result.value) for result in reply.results] == [2, "aa", 4]
    assert [list(result.path) for result in reply.results] == [[0], [1], [2]]
    assert reply.metadata.outputs == 3
    assert len(reply.run_id) == 36
    assert mine.run_id == "my-run"


async def test_collecting_stops_at_the_first_failure_and_counts() -> None:
    async with running() as client:
        request = collected('{"steps": [{"map": {"step": {"named": "fail_on_odd"}}}], "input": [2, 1, 4]}')
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.steps.CollectStep(request)
        request.error_mode = step_run_pb2.ERROR_MODE_CONTINUE
        whole = await client.steps.CollectStep(request)
    error = told(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.UNKNOWN, "STEP_EXECUTION_FAILED")
    assert (error.facts["results"], error.facts["errors"]) == ("1", "1")
    assert "inputsNotStarted" in error.facts
    assert [result.WhichOneof("result") for result in whole.results] == ["value", "failure", "value"]


@pytest.mark.parametrize(
    ("limits", "facts"),
    [
        (Limits(collect_values=2), {"limitResults": "2"}),
        (Limits(reply_bytes=2000), {"limitBytes": "2000"}),
    ],
)
async def test_more_than_a_reply_holds_says_to_stream(limits: Limits, facts: dict[str, str]) -> None:
    async with running(limits) as client:
        items = ", ".join(['"' + "x" * 1000 + '"'] * 3)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.steps.CollectStep(collected(f'{{"steps": [{{"spread": {{}}}}], "input": [{items}]}}'))
    error = told(caught.value)
    assert (error.reason, error.facts) == ("RESPONSE_TOO_LARGE", facts)
    assert "RunStep" in error.message


FAULTY = """{"steps": [
    {"map": {"step": {"named": "dubble", "max_concurrency": 999}}},
    {"compose": {"steps": [{"chat": {"options": {"temperature": 9}}}, {}]}, "buffer": 0},
    {"map": {}}
]}"""


FAULTS = [
    ("steps[0].map.step.max_concurrency", "FIELD_INVALID"),
    ("steps[0].map.step.named", "STEP_GRAPH_INVALID"),
    ("steps[1].buffer", "FIELD_INVALID"),
    ("steps[1].compose.steps[0].chat.options.temperature", "MODEL_CONFIG_INVALID"),
    ("steps[1].compose.steps[1]", "STEP_GRAPH_INVALID"),
    ("steps[2].map.step", "STEP_GRAPH_INVALID"),
]


async def test_all_faults_of_a_spec_are_told_in_its_order_by_every_call() -> None:
    async with running() as client:
        checked = await client.steps.ValidateStep(json_format.Parse(FAULTY, step_run_pb2.ValidateStepRequest()))
        with pytest.raises(grpc.aio.AioRpcError) as streamed:
            await events(client, FAULTY)
        with pytest.raises(grpc.aio.AioRpcError) as once:
            await client.steps.CollectStep(collected(FAULTY))
    assert [(found.field, found.reason) for found in checked.violations] == FAULTS
    assert all(found.description for found in checked.violations)
    assert told(streamed.value).fields == FAULTS
    assert told(once.value).fields == FAULTS


async def test_faults_beside_the_steps_are_told_with_theirs() -> None:
    request = asked('{"steps": [{}], "run_id": "no id"}')
    request.input.number_value = float("nan")
    request.error_mode = 9  # type: ignore[assignment]
    async with running() as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.steps.RunStep(request).read()
    fields = [field for field, _ in told(caught.value).fields]
    assert fields == ["steps[0]", "input", "error_mode", "run_id"]


async def test_a_spec_of_too_many_steps_is_refused_before_it_costs_much() -> None:
    request = step_run_pb2.ValidateStepRequest(steps=[step_run_pb2.Step(spread={}, max_concurrency=0)] * 10_000)
    async with running() as client:
        checked = await client.steps.ValidateStep(request)
    assert len(checked.violations) < LIMITS.step_nodes + 10
    assert any(found.field == f"steps[{LIMITS.step_nodes}]" for found in checked.violations)


async def test_a_good_spec_has_no_faults() -> None:
    async with running() as client:
        request = json_format.Parse('{"steps": [{"named": "double@2"}]}', step_run_pb2.ValidateStepRequest())
        assert not (await client.steps.ValidateStep(request)).violations


async def test_steps_are_listed_with_who_serves_them() -> None:
    async with running() as client:
        steps = (await client.steps.ListSteps(step_run_pb2.ListStepsRequest())).steps
    names = [step.name for step in steps]
    assert names == ["backwards", "double", "fail_on_odd", "wait"]
    assert next(step.version for step in steps if step.name == "double") == "2"


async def test_cancelling_the_call_cancels_the_run() -> None:
    async with running() as client:
        call = client.steps.RunStep(asked('{"steps": [{"named": "wait"}], "input": 1}'))
        reading = asyncio.ensure_future(call.read())
        await within(waiting.wait())
        call.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    assert not waiting.is_set()
