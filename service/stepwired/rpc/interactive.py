"""The call of StepRunService whose caller serves the functions that its run needs, on the very same stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc

from stepwire.v1 import step_run_pb2
from stepwired.errors import Reason, Unavailable
from stepwired.limits import Limits
from stepwired.rpc.convert import calls as convert
from stepwired.steps.ahead import Ahead
from stepwired.steps.line import Asked, Line
from stepwired.steps.remote import Served

Context = grpc.aio.ServicerContext[Any, Any]
Requests = AsyncIterator[step_run_pb2.RunInteractiveRequest]
Events = AsyncGenerator[step_run_pb2.RunStepResponse, None]

#: Reads what to run, for a caller who serves functions and waits so many seconds; None for as long as it takes. Gives
#: the run's id, and its events. Raises an InvalidRequest where it cannot be run.
Begin = Callable[[step_run_pb2.RunStepRequest, Served, float | None], Awaitable[tuple[str, Events]]]


class _Bell:
    """Stands between events where the line has something to send."""


class _Talk:
    """One such call: its run's events, and between them what its line has to send."""

    def __init__(self, limits: Limits) -> None:
        self.line = Line(limits, self._ring)
        self._limits = limits
        self._told: Ahead[step_run_pb2.RunStepResponse | _Bell] | None = None
        self._has_rung = False

    async def responses(
        self, events: Events, requests: Requests
    ) -> AsyncGenerator[step_run_pb2.RunInteractiveResponse, None]:
        """All that the caller is told, while all that it says is taken in."""
        async with aclosing(Ahead[step_run_pb2.RunStepResponse | _Bell](events, 1)) as told:
            self._told = told
            hearing = asyncio.create_task(self._attend(requests, told.stop))
            try:
                async for each in told:
                    if not isinstance(each, _Bell):
                        yield step_run_pb2.RunInteractiveResponse(event=each)
                        continue
                    self._has_rung = False
                    while (unsent := self.line.unsent()) is not None:
                        if not isinstance(unsent, Asked):
                            yield step_run_pb2.RunInteractiveResponse(cancel_call=convert.cancel_proto(unsent))
                        elif (call := await convert.sendable(self.line, unsent)) is not None:
                            yield step_run_pb2.RunInteractiveResponse(call=call)
            finally:
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)

    def _ring(self) -> None:
        if self._told is not None and not self._has_rung:
            self._has_rung = True
            self._told.insert(_Bell())

    async def _attend(self, requests: Requests, stop: Callable[[Exception], None]) -> None:
        """Take in what the caller says; what is wrong with it is raised behind what the caller was told."""
        try:
            await self._hear(requests)
        except Exception as error:  # noqa: BLE001  raised there
            stop(error)

    async def _hear(self, requests: Requests) -> None:
        """Take in what the caller says, to its end. That it is silent is no fault: its functions may take long."""
        while True:
            await self.line.room()
            if (message := await anext(requests, None)) is None:
                text = "the caller closed its half of the call, so that it cannot answer"
                self.line.lose(Unavailable(Reason.WORKER_LOST, text))
                return
            match message.WhichOneof("kind"):
                case "reply":
                    await convert.take(self.line, message.reply, self._limits)
                case "start":
                    raise convert.out_of_turn("start", "comes once, as the first message")
                case _:
                    raise convert.out_of_turn("kind", "the message says nothing")


async def run_interactive(
    begin: Begin, limits: Limits, requests: Requests, context: Context
) -> AsyncGenerator[step_run_pb2.RunInteractiveResponse, None]:
    """See `StepRunService.RunInteractive`."""
    first = await anext(requests, None)
    if first is None or first.WhichOneof("kind") != "start":
        raise convert.out_of_turn("start", "is needed: the caller's first message", Reason.FIELD_REQUIRED)
    talk = _Talk(limits)
    run_id, events = await begin(first.start, talk.line, context.time_remaining())
    is_first = True
    async with aclosing(talk.responses(events, requests)) as responses:
        async for response in responses:
            if is_first:  # not earlier: before the first event the call can still be retried by any client
                await context.send_initial_metadata((("x-run-id", run_id),))
                is_first = False
            yield response
