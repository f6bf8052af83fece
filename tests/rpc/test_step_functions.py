"""Steps whose functions are JavaScript, over the wire, in the real sandbox: as people write them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import json_format

from stepwire.v1 import step_run_pb2
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.rpc.convert.chat import chat_request_of_json
from stepwired.rpc.convert.runs import as_json
from stepwired.rpc.status import code_number
from stepwired.sandbox.pool import Sandbox
from stepwired.steps.leaves import Models
from stepwired.steps.named import NamedStep
from stepwired.steps.registry import Registry
from stepwired.steps.remote import Facts
from stepwired.store.codec.values import json_of_value
from tests.rpc.serving import Client, count, echo, serve, told

LIMITS = Limits()
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "functions.md").read_text()


def flaky(value: Json, facts: Facts) -> Json:
    if facts.attempt < 3:
        raise ValueError
    return facts.attempt


@asynccontextmanager
async def running() -> AsyncIterator[Client]:
    models = Models(echo, count, lambda value: chat_request_of_json(value, LIMITS), as_json, code_number)
    named = {"flaky": {"1": NamedStep("flaky", flaky, quick=True, takes_facts=True, input_schema={"type": "number"})}}
    functions = await Sandbox.open(LIMITS, processes_count=1)
    try:
        async with serve(steps=Registry(models, named, LIMITS, functions=functions), limits=LIMITS) as client:
            yield client
    finally:
        await functions.close()


async def collected(client: Client, text: str) -> list[Json]:
    request = json_format.Parse(text, step_run_pb2.CollectStepRequest())
    return [json_of_value(result.value) for result in (await client.steps.CollectStep(request)).results]


async def test_the_functions_that_the_docs_show_result_in_what_they_say() -> None:
    shown = re.findall(r"^\| `(\{.*\})` \| `(.*)` \| `(\[.*\])` \|$", PAGE, re.MULTILINE)
    assert len(shown) == 6
    async with running() as client:
        for step, given, results in shown:
            assert await collected(client, f'{{"steps": [{step}], "input": {given}}}') == json.loads(results), step


def checking(arguments: str, result: str) -> dict[str, str]:
    """A function that throws unless its last argument says where it is."""
    check = "if (Object.keys(meta).sort() != 'attempt,index,runId,stepPath') throw new Error('meta')"
    return {"javascript": f"({arguments}, meta) => {{ {check}; return {result}; }}"}


def failing(most: int) -> dict[str, str]:
    return {"javascript": f"(x, {{attempt}}) => {{ if (attempt < {most}) throw new Error(x); return attempt; }}"}


async def test_every_function_is_told_where_it_is_by_its_last_argument() -> None:
    retry = {
        "step": failing(3),
        "when": checking("error, attempt", "attempt < 3"),
        "backoff": checking("attempt", "attempt"),
    }
    cases = [{"when": checking("x", "x === 'in'"), "then": checking("x", "x")}]
    steps: list[tuple[dict[str, Any], Json]] = [
        (checking("x", "[x, meta.index, meta.attempt, meta.stepPath]"), ["in", 0, 1, "steps[0]"]),
        ({"filter": {"where": checking("x", "x === 'in'")}}, "in"),
        ({"choice": {"cases": cases}}, "in"),
        ({"state": {"step": checking("x, state", "({output: [x, state]})"), "initial_state": 7}}, ["in", 7]),
        ({"retry": retry}, 3),
    ]
    async with running() as client:
        for step, made in steps:
            assert await collected(client, json.dumps({"steps": [step], "input": "in"})) == [made], step


async def test_the_functions_of_the_guide_run_as_they_stand() -> None:
    async with running() as client:
        assert await collected(
            client, '{"steps": [{"map": {"step": {"javascript": "(x) => x * 2"}}}], "input": [1, 2, 3]}'
        ) == [2, 4, 6]
        assert await collected(
            client,
            '{"steps": [{"javascript": "(text) => text.split(\' \')"}, {"spread": {}},'
            ' {"filter": {"where": {"javascript": "(w) => w.length > 2"}}},'
            ' {"state": {"initial_state": {"n": 0}, "step": {"javascript":'
            ' "(w, s) => ({outputs: [`${s.n} ${w}`], state: {n: s.n + 1}})"}}}], "input": "one of three words"}',
        ) == ["0 one", "1 three", "2 words"]


async def test_a_retry_asks_functions_and_is_told_on_the_stream() -> None:
    request = json_format.Parse(
        """{"events": true, "input": 1, "steps": [{"retry": {"step": {"named": "flaky"},
        "backoff": {"javascript": "(attempt) => Math.pow(2, attempt)"},
        "when": {"javascript": "(error, n) => error.reason === 'STEP_EXECUTION_FAILED' && error.code === 2"}}}]}""",
        step_run_pb2.RunStepRequest(),
    )
    async with running() as client:
        events = [event async for event in client.steps.RunStep(request)]
    again = [event.stage for event in events if event.stage.kind == step_run_pb2.STAGE_EVENT_KIND_RETRYING]
    assert [(each.step_path, each.attempt, each.delay.nanos) for each in again] == [
        ("steps[0]", 2, 1_000_000),
        ("steps[0]", 3, 2_000_000),
    ]
    [value] = [event.value for event in events if event.WhichOneof("event") == "value"]
    assert value.number_value == 3
    assert events[-1].finished.metadata.steps[0].attempts == 3


async def test_what_is_no_function_is_told_by_every_call_before_anything_runs() -> None:
    steps = '"steps": [{"spread": {}}, {"map": {"step": {"javascript": "(x) =>"}}}, {"client": "f"}]'
    async with running() as client:
        checked = await client.steps.ValidateStep(json_format.Parse(f"{{{steps}}}", step_run_pb2.ValidateStepRequest()))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.steps.CollectStep(json_format.Parse(f"{{{steps}}}", step_run_pb2.CollectStepRequest()))
    assert [(found.field, found.reason) for found in checked.violations] == [
        ("steps[1].map.step.javascript", "STEP_GRAPH_INVALID")
    ]
    assert told(caught.value).fields == [
        ("steps[1].map.step.javascript", "STEP_GRAPH_INVALID"),
        ("steps[2].client", "STEP_GRAPH_INVALID"),
    ]


async def test_a_restart_without_events_is_refused() -> None:
    text = '{"steps": [{"retry": {"step": {"named": "flaky"}, "emitted": "RETRY_EMITTED_RESTART"}}], "input": 1}'
    async with running() as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await collected(client, text)
    assert told(caught.value).fields == [("steps[0].retry.emitted", "STEP_GRAPH_INVALID")]


async def test_a_listed_step_tells_its_schemas() -> None:
    async with running() as client:
        [info] = (await client.steps.ListSteps(step_run_pb2.ListStepsRequest())).steps
    assert dict(info.input_schema) == {"type": "number"}
    assert not info.HasField("output_schema")
    assert not info.is_tool


async def test_a_mapping_of_many_values_keeps_their_order_through_the_sandbox() -> None:
    numbers = ", ".join(map(str, range(3000)))
    text = f'{{"steps": [{{"parallel": {{"step": {{"javascript": "(x) => x + 1"}}}}}}], "input": [{numbers}]}}'
    async with running() as client:
        assert await collected(client, text) == list(range(1, 3001))
