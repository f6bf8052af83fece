"""What a worker says first: its steps, every fault of which is told, and names that are not for it."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import struct_pb2

from tests.rpc.serving import read, told
from tests.rpc.talking import Other, V, ended, talking


def struct(**fields: Any) -> struct_pb2.Struct:
    made = struct_pb2.Struct()
    made.update(fields)
    return made


async def test_a_registration_says_all_that_there_is_to_know_of_a_step() -> None:
    async with talking() as server:
        worker = Other(server.stub.ServeSteps(), V.ServeStepsRequest)
        schemas = {"input_schema": struct(type="string"), "output_schema": struct(type="number")}
        step = V.WorkerStep(name="f", version="2.1", description="Counts.", **schemas)
        await worker.send(register=V.WorkerRegistration(steps=[step, V.WorkerStep(name="g")], max_in_flight=3))
        await worker.receive()
        first, second = await server.workers.infos()
        await ended(worker.call)
    assert (first.name, first.version, first.description, first.provider) == ("f", "2.1", "Counts.", "worker")
    assert (first.input_schema, first.output_schema) == ({"type": "string"}, {"type": "number"})
    assert (second.version, second.input_schema, second.worker_count) == ("1", None, 1)


WRONG = {
    "no steps": (V.WorkerRegistration(), [("register.steps", "FIELD_REQUIRED")]),
    "too many": (
        V.WorkerRegistration(steps=[V.WorkerStep(name=f"f{index}") for index in range(101)]),
        [("register.steps", "FIELD_INVALID")],
    ),
    "names": (
        V.WorkerRegistration(steps=[V.WorkerStep(), V.WorkerStep(name="a b"), V.WorkerStep(name="x" * 129)]),
        [
            ("register.steps[0].name", "FIELD_REQUIRED"),
            ("register.steps[1].name", "FIELD_INVALID"),
            ("register.steps[2].name", "FIELD_INVALID"),
        ],
    ),
    "numbers": (
        V.WorkerRegistration(steps=[V.WorkerStep(name="f", version="one")], max_in_flight=1001),
        [("register.max_in_flight", "FIELD_INVALID"), ("register.steps[0].version", "FIELD_INVALID")],
    ),
    "negative": (
        V.WorkerRegistration(steps=[V.WorkerStep(name="f", version="1" * 33)], max_in_flight=-1, worker_name="x" * 129),
        [
            ("register.max_in_flight", "FIELD_INVALID"),
            ("register.worker_name", "FIELD_INVALID"),
            ("register.steps[0].version", "FIELD_INVALID"),
        ],
    ),
    "twice": (
        V.WorkerRegistration(steps=[V.WorkerStep(name="f"), V.WorkerStep(name="f", version="1")]),
        [("register.steps[1]", "FIELD_INVALID")],
    ),
    "two versions": (
        V.WorkerRegistration(steps=[V.WorkerStep(name="f"), V.WorkerStep(name="f", version="2")]),
        [("register.steps[1]", "FIELD_INVALID")],
    ),
    "schemas": (
        V.WorkerRegistration(
            steps=[V.WorkerStep(name="f", description="x" * 1025, input_schema=struct(type="nonsense"))]
        ),
        [("register.steps[0].description", "FIELD_INVALID"), ("register.steps[0].input_schema", "FIELD_INVALID")],
    ),
}


@pytest.mark.parametrize(("given", "fields"), WRONG.values(), ids=WRONG)
async def test_a_wrong_registration_is_refused_with_every_fault(
    given: V.WorkerRegistration, fields: list[tuple[str, str]]
) -> None:
    async with talking() as server:
        worker = Other(server.stub.ServeSteps(), V.ServeStepsRequest)
        await worker.send(register=given)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await worker.receive()
        assert await server.workers.infos() == []
    assert told(caught.value).fields == fields


async def test_the_largest_registration_is_taken() -> None:
    steps = [V.WorkerStep(name="x" * 125 + f"{index:03}", version="1" * 32) for index in range(100)]
    steps[0].description = "x" * 1024
    async with talking() as server:
        worker = Other(server.stub.ServeSteps(), V.ServeStepsRequest)
        await worker.send(register=V.WorkerRegistration(steps=steps, max_in_flight=1000, worker_name="x" * 128))
        assert (await worker.receive()).HasField("accepted")
        await ended(worker.call)


async def test_a_name_of_the_servers_own_is_refused() -> None:
    async with talking() as server:
        worker = Other(server.stub.ServeSteps(), V.ServeStepsRequest)
        await worker.send(register=V.WorkerRegistration(steps=[V.WorkerStep(name="upper")]))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await worker.receive()
    error = told(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "STEP_EXISTS")


@pytest.mark.parametrize("message", [V.ServeStepsRequest(), V.ServeStepsRequest(heartbeat={}), None])
async def test_the_first_message_has_to_register(message: V.ServeStepsRequest | None) -> None:
    async with talking() as server:
        call: Any = server.stub.ServeSteps()
        await (call.write(message) if message is not None else call.done_writing())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(call)
    assert told(caught.value).fields == [("register", "FIELD_REQUIRED")]
