"""Workers that get calls, drain or hang up; runs that are cancelled, and a server that drains under its workers."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from stepwired.errors import Failure, Reason
from stepwired.limits import Limits
from stepwired.store.codec.values import json_of_value
from tests.rpc.serving import told, until, within
from tests.rpc.talking import Other, V, ended, talking
from tests.rpc.working import called, calling, serve


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
