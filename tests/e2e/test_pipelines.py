"""Pipelines on the real server: saved, run by name, changed under a run, and kept through a kill."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format

from stepwire.v1 import pipeline_pb2, pipeline_pb2_grpc, step_run_pb2, step_run_pb2_grpc
from tests.e2e.conftest import Scripted
from tests.fakeprov import behaviours
from tests.program import Program, running
from tests.rpc.keeping import refused
from tests.rpc.serving import within

ALONE = "[local]\nenabled = false\n"
SHOUT: list[dict[str, Any]] = [{"named": "trim"}, {"named": "upper"}]


class Caller:
    """Calls on pipelines and runs, in the JSON that people type."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.pipelines: Any = pipeline_pb2_grpc.PipelineServiceStub(channel)
        self.steps: Any = step_run_pb2_grpc.StepRunServiceStub(channel)

    async def save(self, name: str, steps: list[dict[str, Any]], **more: Any) -> str:
        pipeline = {"name": name, "steps": steps, **more}
        request = json_format.ParseDict({"pipeline": pipeline}, pipeline_pb2.SavePipelineRequest())
        return str((await self.pipelines.SavePipeline(request)).pipeline.version)

    async def delete(self, name: str, version: str = "") -> int:
        request = pipeline_pb2.DeletePipelineRequest(name=name, version=version)
        return int((await self.pipelines.DeletePipeline(request)).version_count)

    async def listed(self, name: str = "") -> list[str]:
        found = (await self.pipelines.ListPipelines(pipeline_pb2.ListPipelinesRequest(name=name))).pipelines
        return [f"{each.name}@{each.version}" for each in found]

    async def collect(self, name: str, value: Any) -> list[Any]:
        request = {"steps": [{"named": name}], "input": value}
        response = await self.steps.CollectStep(json_format.ParseDict(request, step_run_pb2.CollectStepRequest()))
        return [json_format.MessageToDict(each.value) for each in response.results]


async def test_a_saved_pipeline_runs_by_name_and_by_version_like_any_step(server_alone: Program) -> None:
    async with server_alone.channel() as channel:
        call = Caller(channel)
        assert await call.save("shout", SHOUT) == "1"
        assert await call.collect("shout", " hi ") == ["HI"]
        assert await call.save("shout", [*SHOUT, {"render": {"template": "{{.}}!"}}]) == "2"
        assert await call.collect("shout", " hi ") == ["HI!"]
        assert await call.collect("shout@1", " hi ") == ["HI"]
        assert await call.save("each", [{"map": {"step": {"named": "shout"}}}, {"gather": {}}]) == "1"
        assert await call.collect("each", [" a", "b "]) == [["A!", "B!"]]
        told = await refused(call.collect("shout@3", "x"))
        assert (told.reason, told.fields) == ("STEP_GRAPH_INVALID", [("steps[0].named", "STEP_GRAPH_INVALID")])


async def test_lists_of_steps_show_pipelines_with_their_schemas(server_alone: Program) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    async with server_alone.channel() as channel:
        call = Caller(channel)
        text = [{"render": {"template": "{{city}}"}}]
        for version in ("1.9", "1.10"):
            await call.save("weather", text, version=version, description=version, input_schema=schema)
        infos = (await call.steps.ListSteps(step_run_pb2.ListStepsRequest())).steps
        found = [info for info in infos if info.name == "weather"]
        assert [(info.version, info.description, info.provider) for info in found] == [
            ("1.10", "1.10", "pipeline"),
            ("1.9", "1.9", "pipeline"),
        ]
        assert json_format.MessageToDict(found[0].input_schema) == schema
        assert await call.collect("weather", {"city": "Rome"}) == ["Rome"]
        assert (await refused(call.collect("weather", {"town": "Rome"}))).reason == "STEP_INPUT_INVALID"
        for name in ("upper", "lower"):
            assert (await refused(call.save(name, SHOUT))).reason == "STEP_EXISTS"


async def test_what_names_a_deleted_pipeline_fails_until_there_is_one_again(server_alone: Program) -> None:
    async with server_alone.channel() as channel:
        call = Caller(channel)
        await call.save("inner", SHOUT)
        await call.save("outer", [{"named": "inner"}])
        assert await call.delete("inner") == 1
        told = await refused(call.collect("outer", "x"))
        assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "STEP_GRAPH_INVALID")
        assert "inner" in told.message
        await call.save("inner", [{"named": "lower"}])
        assert await call.collect("outer", "X") == ["x"]


async def test_no_save_closes_a_circle_and_a_circle_that_a_deletion_closes_cannot_run(server_alone: Program) -> None:
    async with server_alone.channel() as channel:
        call = Caller(channel)
        assert (await refused(call.save("self", [{"named": "self"}]))).reason == "STEP_GRAPH_INVALID"
        await call.save("b", SHOUT, version="1")
        await call.save("a", [{"named": "b"}])
        assert (await refused(call.save("b", [{"named": "a"}], version="2"))).reason == "STEP_GRAPH_INVALID"
        assert await call.save("b", [{"named": "a"}], version="0.9") == "0.9", "b means 1, and that goes nowhere"
        await call.delete("b", "1")
        assert (await refused(call.collect("a", "x"))).reason == "STEP_GRAPH_INVALID"


async def test_the_limits_of_a_spec_count_what_its_names_lead_to(server_alone: Program) -> None:
    async with server_alone.channel() as channel:
        call = Caller(channel)
        await call.save("wide0", [{"named": "upper"}])
        for number in (1, 2):
            await call.save(f"wide{number}", [{"named": f"wide{number - 1}"}] * 9)
        told = await refused(call.save("wide3", [{"named": "wide2"}] * 6))  # each is 1 + 9 · (1 + 9 · 2) = 172 steps
        assert (told.reason, told.fields) == ("STEP_GRAPH_INVALID", [("pipeline.steps[5].named", "STEP_GRAPH_INVALID")])
        await call.save("wide3", [{"named": "wide2"}] * 5)
        await call.save("deep1", [{"named": "upper"}])
        for depth in range(2, 33):
            await call.save(f"deep{depth}", [{"named": f"deep{depth - 1}"}])
        assert (await refused(call.save("deep33", [{"named": "deep32"}]))).reason == "STEP_GRAPH_INVALID"
        assert await call.collect("deep31", "x") == ["X"]
        told = await refused(call.collect("deep32", "x"))
        assert (told.reason, told.fields) == ("STEP_GRAPH_INVALID", [("steps[0].named", "STEP_GRAPH_INVALID")])


async def test_a_run_goes_on_with_the_version_that_it_began_with(scripted: Scripted) -> None:
    release = asyncio.Event()
    body = behaviours.transcript(["o", "k"])
    scripted.behave(behaviours.paused(body, len(body) // 2, release))
    async with scripted.program.channel() as channel:
        call = Caller(channel)
        await call.save("tail", [{"named": "text"}, {"named": "upper"}])
        await call.save("ask", [{"chat": {}}, {"named": "tail"}])
        request = step_run_pb2.RunStepRequest(steps=[step_run_pb2.Step(named="ask")], events=True)
        request.input.string_value = "hi"
        run = aiter(call.steps.RunStep(request))
        await within(anext(run))  # it has begun
        await call.save("tail", [{"render": {"template": "new"}}])
        assert await call.delete("ask") == 1
        assert await call.delete("tail", "1") == 1
        release.set()
        events = [event async for event in run]
        assert [event.value.string_value for event in events if event.HasField("value")] == ["OK"]
        assert events[-1].HasField("finished")
        assert (await refused(call.collect("ask", "hi"))).reason == "STEP_GRAPH_INVALID"


async def test_what_was_acknowledged_is_there_after_a_restart_and_after_a_kill(tmp_path: Path) -> None:
    saved: list[str] = []
    for round_ in range(3):
        async with running(tmp_path, ALONE) as program, program.channel() as channel:
            call = Caller(channel)
            assert await call.listed("p") == saved[::-1]
            if saved:
                assert await call.collect("p", " x ") == ["X"]
            versions = await asyncio.gather(
                *(call.save("p", SHOUT, description=f"{round_} {number}") for number in range(8))
            )
            saved += [f"p@{version}" for version in sorted(versions, key=int)]
            await call.save("gone", SHOUT)
            await call.delete("gone")
            await program.end(signal.SIGKILL if round_ == 1 else signal.SIGTERM)
    assert saved == [f"p@{number}" for number in range(1, 25)]
