"""What a worker in Python does with servers that are silent, refuse, or are none for workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc
import pytest

import stepwire
from stepwire import errors
from stepwire.v1 import step_run_pb2
from tests.sdk.refusing import refuse
from tests.sdk.scripted import Server
from tests.sdk.stepping import HANG_S

V = step_run_pb2


async def accept(requests: AsyncIterator[Any], interval_ms: int) -> V.ServeStepsResponse:
    assert (await anext(requests)).WhichOneof("kind") == "register"
    accepted = V.WorkerAccepted(worker_id="w1")
    accepted.heartbeat_interval.FromMilliseconds(interval_ms)
    return V.ServeStepsResponse(accepted=accepted)


async def test_both_sides_say_that_they_are_alive(server: Server) -> None:
    beats = asyncio.Semaphore(0)

    async def beating(requests: AsyncIterator[Any], _: Any) -> AsyncGenerator[V.ServeStepsResponse]:
        yield await accept(requests, 10)
        async for request in requests:
            assert request.WhichOneof("kind") == "heartbeat"
            beats.release()
            yield V.ServeStepsResponse(heartbeat=V.WorkerHeartbeat())

    server.on["ServeSteps"] = beating
    worker = stepwire.Worker(server.target)
    worker.step("a")(str)
    task = asyncio.create_task(worker.serve())
    async with asyncio.timeout(HANG_S):
        for _ in range(5):
            await beats.acquire()
    task.cancel()
    await asyncio.wait([task])


async def test_a_server_that_is_silent_refuses_or_ends_is_tried_again(server: Server) -> None:
    came: list[str] = []
    served = asyncio.Event()

    async def changing(requests: AsyncIterator[Any], context: Any) -> AsyncGenerator[V.ServeStepsResponse]:
        came.append("register")
        if len(came) == 1:
            await refuse(context, grpc.StatusCode.UNAVAILABLE, reason="SERVER_DRAINING")
        yield await accept(requests, 10)
        if len(came) == 2:
            return
        if len(came) == 3:
            await asyncio.Event().wait()
        served.set()
        await asyncio.Event().wait()

    server.on["ServeSteps"] = changing
    worker = stepwire.Worker(server.target)
    worker.step("a")(str)
    task = asyncio.create_task(worker.serve())
    async with asyncio.timeout(HANG_S):
        await served.wait()
    task.cancel()
    await asyncio.wait([task])
    assert len(came) >= 4


async def test_a_server_that_knows_no_workers_ends_the_worker(server: Server) -> None:
    async def none(_: AsyncIterator[Any], context: Any) -> AsyncGenerator[V.ServeStepsResponse]:
        await refuse(context, grpc.StatusCode.UNIMPLEMENTED)
        yield V.ServeStepsResponse()

    server.on["ServeSteps"] = none
    worker = stepwire.Worker(server.target)
    worker.step("a")(str)
    with pytest.raises(errors.ServerError, match="does not know this call"):
        await worker.serve()


async def test_a_worker_that_nobody_has_accepted_yet_is_drained_at_once(server: Server) -> None:
    has_come = asyncio.Event()

    async def silent(requests: AsyncIterator[Any], _: Any) -> AsyncGenerator[V.ServeStepsResponse]:
        async for _request in requests:
            has_come.set()
        yield V.ServeStepsResponse()

    server.on["ServeSteps"] = silent
    worker = stepwire.Worker(server.target)
    worker.step("a")(str)
    task = asyncio.create_task(worker.serve())
    async with asyncio.timeout(HANG_S / 2):  # less than what a server may take to accept
        await has_come.wait()
        worker.drain()
        await task
