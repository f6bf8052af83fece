from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from google.protobuf import struct_pb2

from stepwired.errors import Failure, Reason
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.rpc.call import Call
from stepwired.store.codec.values import json_of_value
from tests.rpc.serving import read, told, until, within
from tests.rpc.talking import FACTS, Other, Talking, V, ended, number, saying, talking


async def called(server: Talking, value: Json, name: str = "f") -> list[Json]:
    """What a run would get of one call of a worker's step."""
    named = await server.workers.find(name, "")
    assert named is not None
    async with aclosing(cast(Any, named.function)(value, FACTS)) as outputs:
        return [output async for output in outputs]


def calling(server: Talking, *values: Json) -> list[asyncio.Task[list[Json]]]:
    return [asyncio.create_task(called(server, value)) for value in values]


async def serve(worker: Other) -> None:
    """Answer each call with its input, and each heartbeat with another, until the server ends the stream."""
    while (message := await worker.receive()) is not grpc.aio.EOF:
        if message.HasField("call"):
            await worker.done(message.call.call_id, json_of_value(message.call.input))
        else:
            await worker.send(heartbeat=V.WorkerHeartbeat())


def struct(**fields: Any) -> struct_pb2.Struct:
    made = struct_pb2.Struct()
    made.update(fields)
    return made


async def test_a_worker_is_told_how_often_to_say_that_it_lives_and_then_gets_calls() -> None:
    async with talking() as server:
        worker = Other(server.stub.ServeSteps(), V.ServeStepsRequest)
        await worker.send(register=V.WorkerRegistration(steps=[V.WorkerStep(name="f")]))
        accepted = (await worker.receive()).accepted
        assert accepted.worker_id
        assert accepted.heartbeat_interval.ToTimedelta().total_seconds() == Limits().worker_heartbeat_s
        [run] = calling(server, {"a": 1})
        call = await worker.asked()
        assert (call.function, json_of_value(call.input), call.run_id) == ("f", {"a": 1}, "run-1")
        await worker.output(call.call_id, 1)
        await worker.done(call.call_id, 2, 3)
        assert await within(run) == [1, 2, 3]
        await ended(worker.call)


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


OUT_OF_TURN = {
    "register": V.ServeStepsRequest(register=V.WorkerRegistration(steps=[V.WorkerStep(name="f")])),
    "nothing": V.ServeStepsRequest(),
    "an empty reply": V.ServeStepsRequest(reply=V.CallReply(call_id="1")),
}


@pytest.mark.parametrize("message", OUT_OF_TURN.values(), ids=OUT_OF_TURN)
async def test_a_message_out_of_turn_ends_the_worker_and_its_calls_go_to_another(
    message: V.ServeStepsRequest,
) -> None:
    async with talking() as server:
        worker = await server.worker("f")
        [run] = calling(server, 1)
        await worker.asked()
        await within(worker.call.write(message))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await worker.rest()
        other = await server.worker("f")
        again = await other.asked()
        assert again.attempt == 2
        await other.done(again.call_id, "well")
        assert await within(run) == ["well"]
        await ended(other.call)
    assert told(caught.value).reason == "FIELD_INVALID"


@pytest.mark.parametrize("message", [V.ServeStepsRequest(), V.ServeStepsRequest(heartbeat={}), None])
async def test_the_first_message_has_to_register(message: V.ServeStepsRequest | None) -> None:
    async with talking() as server:
        call: Any = server.stub.ServeSteps()
        await (call.write(message) if message is not None else call.done_writing())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(call)
    assert told(caught.value).fields == [("register", "FIELD_REQUIRED")]


async def test_both_sides_say_that_they_live_and_an_idle_worker_may_stay() -> None:
    async with talking(limits=Limits(worker_heartbeat_s=0.5, stalled_sender_s=1.0)) as server:
        worker = await server.worker("f")
        for _ in range(4):
            assert (await worker.receive()).HasField("heartbeat")
            await worker.send(heartbeat=V.WorkerHeartbeat())
        [run] = calling(server, 1)
        await worker.done((await worker.asked()).call_id, "still here")
        assert await within(run) == ["still here"]
        await ended(worker.call)


async def test_a_worker_that_is_silent_is_taken_for_dead_and_its_calls_go_to_another() -> None:
    async with talking(limits=Limits(worker_heartbeat_s=1.0)) as server:
        silent = await server.worker("f")
        [run] = calling(server, 1)
        await silent.asked()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await silent.rest()
        other = await server.worker("f")
        serving = asyncio.create_task(serve(other))
        assert await within(run) == [1]
        await ended(other.call)
        await asyncio.gather(serving, return_exceptions=True)
    assert (told(caught.value).reason, told(caught.value).facts["limitSeconds"]) == ("SLOW_PRODUCER", "3")


async def test_the_calls_of_a_worker_that_froze_go_to_another_though_it_reads_nothing() -> None:
    async with talking(limits=Limits(worker_heartbeat_s=1.0)) as server:
        frozen = await server.worker("f", room=4)
        runs = calling(server, *("x" * 500_000 for _ in range(4)))  # more than HTTP/2 takes on its way
        await until(
            lambda: any(
                isinstance(call.writing, V.ServeStepsResponse)
                for call in server.calls.places._live
                if isinstance(call, Call)
            )
        )
        other = await server.worker("f", room=4)
        serving = asyncio.create_task(serve(other))
        assert [len(str(value)) for [value] in await within(asyncio.gather(*runs))] == [500_000] * 4
        await ended(frozen.call)
        await ended(other.call)
        await asyncio.gather(serving, return_exceptions=True)


async def test_a_worker_whose_stream_we_leave_unread_is_not_silent() -> None:
    async with talking(limits=Limits(worker_heartbeat_s=0.5, call_outputs=2)) as server:
        worker = await server.worker("f")
        named = await server.workers.find("f", "")
        assert named is not None
        async with aclosing(cast(Any, named.function)(1, FACTS)) as outputs:
            first = asyncio.ensure_future(anext(outputs))
            call = await worker.asked()
            for index in range(10):
                await worker.output(call.call_id, index)
            await worker.done(call.call_id)
            assert await within(first) == 0
            for _ in range(5):  # that is longer than a worker may be silent, and it says nothing
                while not (await worker.receive()).HasField("heartbeat"):
                    pass
            assert [output async for output in outputs] == list(range(1, 10))
        await ended(worker.call)


async def test_a_worker_that_drains_answers_what_it_has_and_is_let_go() -> None:
    async with talking() as server:
        worker = await server.worker("f", room=2)
        runs = calling(server, 1, 2)
        first, second = await worker.asked(), await worker.asked()
        await worker.send(drain=V.WorkerDrain())
        await until(lambda: not [worker for each in server.workers._services.values() for worker in each.workers])
        later = calling(server, 3)
        await worker.done(first.call_id, "one")
        await worker.done(second.call_id, "two")
        assert await worker.rest() == []
        assert await within(worker.call.code()) is grpc.StatusCode.OK
        other = await server.worker("f")
        await other.done((await other.asked()).call_id, "three")
        assert await within(asyncio.gather(*runs, *later)) == [["one"], ["two"], ["three"]]
        await ended(other.call)


async def test_an_idle_worker_that_drains_is_let_go_at_once() -> None:
    async with talking() as server:
        worker = await server.worker("f")
        await worker.send(drain=V.WorkerDrain())
        assert await worker.rest() == []


async def test_a_worker_that_closes_its_half_is_lost_with_what_it_has_not_answered() -> None:
    async with talking() as server:
        worker = await server.worker("f")
        [run] = calling(server, 1)
        call = await worker.asked()
        await worker.output(call.call_id, "part")
        await worker.call.done_writing()
        assert await worker.rest() == []
        with pytest.raises(Failure) as caught:
            await within(run)
    assert caught.value.reason is Reason.WORKER_LOST


async def test_a_run_that_is_cancelled_cancels_its_sixty_four_calls_and_frees_their_room() -> None:
    async with talking() as server:
        worker = await server.worker("f", room=64)
        runs = calling(server, *range(64))
        calls = [await worker.asked() for _ in range(64)]
        for run in runs:
            run.cancel()
        assert await worker.dropped(64) == {call.call_id for call in calls}
        for call in calls:  # what comes late is ignored
            await worker.done(call.call_id, "late")
        again = calling(server, *range(64))
        serving = asyncio.create_task(serve(worker))
        assert await within(asyncio.gather(*again)) == [[value] for value in range(64)]
        await ended(worker.call)
        await asyncio.gather(serving, *runs, return_exceptions=True)


async def test_draining_the_server_ends_workers_after_the_calls_of_others() -> None:
    async with talking() as server:
        worker = await server.worker("f")
        caller = await server.caller()
        await caller.rest()
        draining = asyncio.create_task(server.calls.places.drain(30))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await worker.rest()
        await within(draining)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await server.worker("f")
    for error in (told(caught.value), told(refused.value)):
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")


async def test_while_the_server_drains_workers_serve_the_runs_that_are_left() -> None:
    async def script(_: Any) -> Any:
        [value] = await called(server, 1)
        yield value

    async with talking(script) as server:
        worker = await server.worker("f")
        caller = await server.caller()
        call = await worker.asked()
        draining = asyncio.create_task(server.calls.places.drain(30))
        await until(lambda: server.calls.places._draining)
        await worker.done(call.call_id, "served")
        assert await caller.values() == ["served"]
        with pytest.raises(grpc.aio.AioRpcError):
            await worker.rest()
        await within(draining)


async def test_a_thousand_calls_over_workers_of_which_some_are_cut_off_are_each_answered_once() -> None:
    answered: dict[Json, int] = {}

    async def serve_some(worker: Other, count: int) -> None:
        """Answer so many calls, then drop the connection with whatever is open."""
        for _ in range(count):
            call = await worker.asked()
            value = json_of_value(call.input)
            await worker.done(call.call_id, value)
            answered[value] = answered.get(value, 0) + 1
        await ended(worker.call)

    async with talking() as server:
        serving = [asyncio.create_task(serve(await server.worker("f", room=8)))]
        runs = calling(server, *range(1000))
        for count in (10, 100, 200):
            await serve_some(await server.worker("f", room=16), count)
        assert await within(asyncio.gather(*runs)) == [[value] for value in range(1000)]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def test_messages_in_any_order_never_leave_a_worker_or_a_call_behind() -> None:
    chance = random.Random(5)
    register = V.ServeStepsRequest(register=V.WorkerRegistration(steps=[V.WorkerStep(name="f")], max_in_flight=2))
    requests = [
        register,
        V.ServeStepsRequest(),
        V.ServeStepsRequest(heartbeat=V.WorkerHeartbeat()),
        V.ServeStepsRequest(drain=V.WorkerDrain()),
        V.ServeStepsRequest(reply=V.CallReply(call_id="1", output=number(1))),
        V.ServeStepsRequest(reply=V.CallReply(call_id="1", done=V.CallDone())),
        V.ServeStepsRequest(reply=V.CallReply(call_id="2", error=V.CallError(is_transient=True))),
        V.ServeStepsRequest(reply=V.CallReply(call_id="2")),
    ]
    async with talking(limits=Limits(worker_wait_s=0.05)) as server:
        stays = await server.worker("f")
        runs = []
        with saying(server) as say:
            for _ in range(150):
                runs += calling(server, 1)
                first = [register] if chance.random() < 0.9 else []
                rest = requests[2:] if chance.random() < 0.7 else requests
                await say("ServeSteps", first + chance.choices(rest, k=chance.randrange(8)))
                if len(runs) > 20:
                    runs.pop(0).cancel()
        await ended(stays.call)
        outcomes = await within(asyncio.gather(*runs, return_exceptions=True))
        await until(lambda: not server.calls.places._live and not server.calls.places._tasks)
        assert not server.calls.places._taken
        assert server.workers._waiting_count == 0
    for outcome in outcomes:
        assert isinstance(outcome, Failure | asyncio.CancelledError | list), outcome
