"""The call of StepRunService that workers make: they serve steps to the runs of others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Any

import grpc

from stepwire.v1 import step_run_pb2
from stepwired.errors import Reason
from stepwired.limits import Limits
from stepwired.rpc import aside, status
from stepwired.rpc.convert import calls as convert
from stepwired.rpc.stall import unsent
from stepwired.steps.line import Asked
from stepwired.steps.worker import Worker
from stepwired.steps.workers import Workers

Context = grpc.aio.ServicerContext[Any, Any]
Requests = AsyncIterator[step_run_pb2.ServeStepsRequest]

#: After so many intervals of silence a worker is taken for dead.
_MISSED = 3


class WorkerServicer:
    """Lets workers in, and carries calls and answers.

    Args:
        workers: Gives them their calls.
        limits: Of registrations and answers; how often both sides say that they are alive.
    """

    def __init__(self, workers: Workers, limits: Limits) -> None:
        self._workers = workers
        self._limits = limits

    async def serve(
        self, requests: Requests, context: Context
    ) -> AsyncGenerator[step_run_pb2.ServeStepsResponse, None]:
        """See `StepRunService.ServeSteps`."""
        first = await anext(requests, None)
        if first is None or first.WhichOneof("kind") != "register":
            raise convert.out_of_turn("register", "is needed: a worker's first message", Reason.FIELD_REQUIRED)
        asked = await aside.read(convert.registration, first.register, self._limits)
        bell = asyncio.Event()
        worker = await self._workers.join(replace(asked, name=asked.name or context.peer()), bell.set)
        hearing = asyncio.create_task(self._hear(worker, requests, bell))
        try:
            yield step_run_pb2.ServeStepsResponse(
                accepted=step_run_pb2.WorkerAccepted(
                    worker_id=worker.id, heartbeat_interval=status.duration(self._limits.worker_heartbeat_s)
                )
            )
            now = asyncio.get_running_loop().time
            beat_s = now() + self._limits.worker_heartbeat_s
            while not (hearing.done() or (worker.is_leaving and not worker.line.open_count)):
                if (response := await self._next(worker, bell, beat_s)) is not None:
                    yield response
                    beat_s = now() + self._limits.worker_heartbeat_s
            if hearing.done():
                hearing.result()
        finally:
            self._workers.leave(worker)
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)

    async def _next(self, worker: Worker, bell: asyncio.Event, beat_s: float) -> step_run_pb2.ServeStepsResponse | None:
        """What the worker has to be told next; None if it is worth a look whether that has changed.

        It hears that we are alive at `beat_s`, by the clock of the loop, however often the bell rings until then.
        """
        bell.clear()
        if (told := worker.line.unsent()) is None:
            try:
                async with asyncio.timeout_at(beat_s):
                    await bell.wait()
            except TimeoutError:
                return step_run_pb2.ServeStepsResponse(heartbeat=step_run_pb2.WorkerHeartbeat())
            return None
        if isinstance(told, Asked):
            call = await convert.sendable(worker.line, told)
            return None if call is None else step_run_pb2.ServeStepsResponse(call=call)
        return step_run_pb2.ServeStepsResponse(cancel_call=convert.cancel_proto(told))

    async def _hear(self, worker: Worker, requests: Requests, bell: asyncio.Event) -> None:
        """Take in what the worker says, until it has nothing more to say.

        Raises:
            Throttled: SLOW_PRODUCER, it has been silent for too long.
            InvalidRequest: It said what is not its turn.
        """
        silent_s = _MISSED * self._limits.worker_heartbeat_s
        try:
            while True:
                await worker.line.room()  # what we do not read is no silence
                try:
                    async with asyncio.timeout(silent_s):
                        message = await anext(requests, None)
                except TimeoutError:
                    raise unsent(silent_s) from None
                if message is None:
                    return
                match message.WhichOneof("kind"):
                    case "reply":
                        await convert.take(worker.line, message.reply, self._limits)
                    case "heartbeat":
                        continue
                    case "drain":
                        self._workers.retire(worker)
                    case "register":
                        raise convert.out_of_turn("register", "comes once, as the first message")
                    case _:
                        raise convert.out_of_turn("kind", "the message says nothing")
                if worker.is_leaving and not worker.line.open_count:  # that was its last answer
                    bell.set()
        finally:
            # Here, because whoever tells it things may hang in the middle of one for as long as it reads nothing.
            self._workers.leave(worker)
            bell.set()
