"""Workers that break the protocol, fall silent, freeze or are cut off: what they had to do is done by another."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import Any, cast

import grpc
import grpc.aio
import pytest

from stepwired.errors import Failure
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.rpc.call import Call
from stepwired.store.codec.values import json_of_value
from tests.rpc.serving import told, until, within
from tests.rpc.talking import FACTS, Other, V, ended, number, saying, talking
from tests.rpc.working import calling, serve

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
