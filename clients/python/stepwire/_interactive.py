"""Runs a pipeline that calls functions of this program, and answers these calls on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from stepwire._connection import Connection
from stepwire._functions import Functions
from stepwire._line import Line
from stepwire._serving import Calls
from stepwire.v1 import step_run_pb2

Q = TypeVar("Q")
R = TypeVar("R")


@asynccontextmanager
async def outbox(line: Line[Q, R]) -> AsyncGenerator[Callable[[Q], Awaitable[None]]]:
    """Send messages from any number of tasks, which may be cancelled: a write that is cancelled would end the call.

    Who sends waits while the other side takes nothing.
    """
    waiting: asyncio.Queue[Q] = asyncio.Queue(1)

    async def send() -> None:
        while await line.write(await waiting.get()):
            pass

    sending = asyncio.create_task(send())
    try:
        yield waiting.put
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def run(
    connection: Connection, start: step_run_pb2.RunStepRequest, functions: Functions, timeout_s: float | None
) -> AsyncGenerator[step_run_pb2.RunStepResponse, None]:
    """Yield the events of a run. Functions are called only while somebody waits for the next of them."""
    async with (
        connection.talk(connection.steps.RunInteractive, timeout_s) as line,
        outbox(line) as send,
    ):

        async def reply(said: step_run_pb2.CallReply) -> None:
            await send(step_run_pb2.RunInteractiveRequest(reply=said))

        calls = Calls(functions, reply)
        try:
            await send(step_run_pb2.RunInteractiveRequest(start=start))
            # Without a limit of silence: the server may wait for a function of ours.
            while (response := await line.read()) is not None:
                match response.WhichOneof("kind"):
                    case "event":
                        yield response.event
                    case "call":
                        calls.begin(response.call)
                    case "cancel_call":
                        calls.cancel(response.cancel_call.call_id)
        finally:
            await calls.close()
