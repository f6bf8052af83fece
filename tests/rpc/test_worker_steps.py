"""Steps of workers, as runs and lists see them: the registry, the workers and the wire together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import json_format

from stepwire.v1 import step_run_pb2
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps.workers import Workers
from stepwired.store.codec.values import json_of_value
from tests.rpc.serving import Client, serve, told, until, within
from tests.rpc.talking import Other, V, ended, is_taken
from tests.steps.conftest import Scripted, registry_of


@asynccontextmanager
async def running(limits: Limits | None = None) -> AsyncIterator[Client]:
    limits = limits or Limits()
    workers = Workers(limits, is_taken)
    registry = registry_of(Scripted(), limits, others=[workers])
    async with serve(steps=registry, workers=workers, limits=limits) as client:
        yield client


@asynccontextmanager
async def worker(client: Client, *steps: dict[str, Any], room: int = 1) -> AsyncIterator[Other]:
    other = Other(client.steps.ServeSteps(), V.ServeStepsRequest)
    registration = {"steps": steps, "max_in_flight": room}
    await other.send(register=json_format.ParseDict(registration, V.WorkerRegistration()))
    assert (await other.receive()).HasField("accepted")
    yield other
    await ended(other.call)


async def results(client: Client, steps: list[Any], value: Any, **more: Any) -> list[Any]:
    request = json_format.ParseDict({"steps": steps, "input": value, **more}, step_run_pb2.RunStepRequest())
    made: list[Any] = []
    async for event in client.steps.RunStep(request):
        if event.HasField("value"):
            made.append(json_of_value(event.value))
        elif event.HasField("failure"):
            made.append((event.failure.reason, event.failure.metadata["stepPath"]))
    return made


async def served(client: Client) -> list[step_run_pb2.StepInfo]:
    """The steps of workers that are listed."""
    listed = await client.steps.ListSteps(step_run_pb2.ListStepsRequest(page_size=1000))
    return [info for info in listed.steps if info.provider == "worker"]


async def test_a_step_of_a_worker_is_a_step_like_any_other() -> None:
    async with running() as client, worker(client, {"name": "f", "version": "2"}) as other:
        steps = [{"map": {"step": {"named": "f@2"}}}, {"gather": {}}]
        run = asyncio.create_task(results(client, steps, [1, 2], run_id="r"))
        for outputs in ((10, 11), ()):
            call = await other.asked()
            assert (call.run_id, call.step_path, call.attempt) == ("r", "steps[0].map.step", 1)
            await other.done(call.call_id, *outputs)
        assert await within(run) == [[10, 11]]


async def test_the_metadata_of_a_run_tell_which_version_of_a_workers_step_ran() -> None:
    older, newer = {"name": "f"}, {"name": "f", "version": "1.10"}
    async with running() as client, worker(client, older), worker(client, newer) as other:
        request = json_format.ParseDict({"steps": [{"named": "f"}]}, step_run_pb2.CollectStepRequest())
        run = asyncio.ensure_future(client.steps.CollectStep(request))
        await other.done((await other.asked()).call_id, 1)
        assert (await within(run)).metadata.steps[0].version == "1.10"


async def test_what_a_worker_takes_and_gives_is_held_against_its_schemas() -> None:
    schemas = {"input_schema": {"type": "number"}, "output_schema": {"type": "string"}}
    async with running() as client, worker(client, {"name": "f", **schemas}) as other:
        run = asyncio.create_task(results(client, [{"spread": {}}, {"named": "f"}], ["one", "2", 3]))
        outputs: list[Json] = ["two", [3]]
        for output in outputs:
            call = await other.asked()
            assert call.input.HasField("number_value")
            await other.done(call.call_id, output)
        made = await within(run)
    assert made == [("STEP_INPUT_INVALID", "steps[1]"), "two", ("STEP_OUTPUT_INVALID", "steps[1]")]


async def test_steps_of_workers_are_listed_while_they_are_served() -> None:
    async with running() as client:
        step = {"name": "f", "version": "3", "description": "Does f.", "input_schema": {"type": "number"}}
        async with worker(client, step), worker(client, step, {"name": "a"}):
            listed = await served(client)
            shown = [(info.name, info.version, info.provider, info.worker_count) for info in listed]
            assert shown == [("a", "1", "worker", 1), ("f", "3", "worker", 2)]
            assert json_format.MessageToDict(listed[1].input_schema) == {"type": "number"}
        await until(lambda: not client.server.places._live)
        assert not await served(client)


async def test_without_a_worker_a_known_step_fails_and_says_to_try_again() -> None:
    async with running(Limits(worker_wait_s=0.05)) as client:
        async with worker(client, {"name": "f"}):
            pass
        assert await results(client, [{"named": "f"}], 1) == [("NO_WORKER", "steps[0]")]


async def test_a_step_that_was_forgotten_is_a_fault_of_the_specs_that_name_it() -> None:
    async with running(Limits(worker_wait_s=0.05, worker_known_s=0.05)) as client:
        async with worker(client, {"name": "f"}):
            pass

        async def try_again() -> None:
            while True:
                assert await results(client, [{"named": "f"}], 1) == [("NO_WORKER", "steps[0]")]

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await within(try_again())
    assert told(caught.value).reason == "STEP_GRAPH_INVALID"


async def test_cancelling_a_run_with_sixty_four_calls_open_cancels_each_and_frees_the_worker() -> None:
    async with running() as client, worker(client, {"name": "f"}, room=64) as other:
        steps = [{"spread": {}}, {"named": "f", "max_concurrency": 64}]
        request = {"steps": steps, "input": list(range(64))}
        call = client.steps.RunStep(json_format.ParseDict(request, step_run_pb2.RunStepRequest()))
        ids = {(await other.asked()).call_id for _ in range(64)}
        await ended(call)
        assert await other.dropped(64) == ids
        again = asyncio.create_task(results(client, [{"named": "f"}], 1))
        await other.done((await other.asked()).call_id, "free")
        assert await within(again) == ["free"]


async def test_a_retry_step_tries_again_what_a_worker_was_lost_with() -> None:
    async with running() as client:
        retry = {"retry": {"step": {"named": "f"}, "initial_delay": "0s", "emitted": "RETRY_EMITTED_BUFFER"}}
        async with worker(client, {"name": "f"}) as lost:
            run = asyncio.create_task(results(client, [retry], 1))
            call = await lost.asked()
            await lost.output(call.call_id, "half")
        async with worker(client, {"name": "f"}) as other:
            call = await other.asked()
            assert call.attempt == 2
            await other.done(call.call_id, "whole")
            assert await within(run) == ["whole"]
