"""Serves functions of this program as steps that all runs of a server can name."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import random
import signal
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, TypeVar

from stepwire import _requests, _status, _values, errors
from stepwire._aio import DEFAULT_TARGET
from stepwire._connection import Connection
from stepwire._functions import Callback, Functions, cut
from stepwire._interactive import outbox
from stepwire._line import Line
from stepwire._serving import Calls
from stepwire.v1 import step_run_pb2

F = TypeVar("F", bound=Callable[..., Any])

logger = logging.getLogger("stepwire")

FIRST_DELAY_S = 0.2
MAX_DELAY_S = 5.0
MISSED = 3
"""After so many intervals of silence the server is taken for dead."""

MAX_DESCRIPTION_BYTES = 1024

_Request = step_run_pb2.ServeStepsRequest
_Line = Line[step_run_pb2.ServeStepsRequest, step_run_pb2.ServeStepsResponse]

#: What a later attempt may not meet again; anything else, such as a name that is taken, is for people to mend.
_PASSING = (errors.Unavailable, errors.Throttled, errors.DeadlineExceeded, errors.Cancelled, errors.ServerError)


class Worker:
    """Serves steps to all runs of a server, for as long as it is connected; it connects again whenever that is lost.

        worker = stepwire.Worker("localhost:50051", max_in_flight=8)

        @worker.step("shout", input_schema={"type": "string"})
        def shout(text):
            "The text, louder."
            return text.upper() + "!"

        worker.run()

    A function is called as those of a run are (see `stepwire.steps`), up to `max_in_flight` times at once. One whose
    worker is lost is called again elsewhere, or when the worker is back, unless it had yielded something: so it should
    do no harm to call it twice.

    Args:
        target: Address of the server, `host:port`.
        max_in_flight: How many calls it takes at once, 1 to 1,000.
        name: What people call it; empty for its address.
    """

    def __init__(self, target: str = DEFAULT_TARGET, *, max_in_flight: int = 1, name: str = "") -> None:
        self._target = target
        self._functions = Functions()
        self._registration = step_run_pb2.WorkerRegistration(max_in_flight=max_in_flight, worker_name=name)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drained = asyncio.Event()

    def step(
        self,
        name: str,
        *,
        version: str = "",
        description: str | None = None,
        input_schema: Mapping[str, Any] | None = None,
        output_schema: Mapping[str, Any] | None = None,
    ) -> Callable[[F], F]:
        """Make a function a step of this name, before the worker is run.

        Args:
            name: 1 to 128 of `A-Z a-z 0-9 . _ : -`.
            version: Numbers with dots between them; empty for 1. One worker serves one version of a name.
            description: What it does; None for the first paragraph of the function's docstring.
            input_schema: JSON Schema of its input, which the server checks first; None for any value.
            output_schema: JSON Schema of each result, which the server checks; None for any value.
        """

        def add(function: F) -> F:
            said = (inspect.getdoc(function) or "").partition("\n\n")[0] if description is None else description
            with _requests.checked():
                step = step_run_pb2.WorkerStep(
                    name=name,
                    version=version,
                    description=cut(" ".join(said.split()), MAX_DESCRIPTION_BYTES),
                    input_schema=None if input_schema is None else _values.to_struct(dict(input_schema)),
                    output_schema=None if output_schema is None else _values.to_struct(dict(output_schema)),
                )
            if self._functions[name] is not None:
                raise ValueError(f"there is a step {name!r} already")
            self._functions.serve(name, function)
            self._registration.steps.append(step)
            return function

        return add

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C: then finish the calls that are open, and return. A second one ends at once.

        Raises:
            errors.Error: The server does not take these steps, because of their names or schemas.
        """
        asyncio.run(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        serving = loop.create_task(self.serve())

        def end() -> None:
            if self._drained.is_set():
                serving.cancel()
            self.drain()

        with contextlib.ExitStack() as stack:
            for number in (signal.SIGTERM, signal.SIGINT):
                # Not in a thread, and not on Windows, where this program's end is the worker's.
                with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
                    loop.add_signal_handler(number, end)
                    stack.callback(loop.remove_signal_handler, number)
            await asyncio.wait([serving])
            if not serving.cancelled():
                serving.result()

    async def serve(self) -> None:
        """Serve until `drain` is called, and the calls that were open then are answered. Cancelling ends at once.

        Raises:
            errors.Error: The server does not take these steps, because of their names or schemas.
        """
        self._loop = asyncio.get_running_loop()
        delay_s = 0.0
        connection = Connection(self._target, timeout_s=60, long_timeout_s=60, idle_s=60)
        try:
            while not self._drained.is_set():
                session = _Session(connection, self._functions, self._registration, self._drained)
                try:
                    await session.serve()
                    why = "the server ended the call"
                except _PASSING as error:
                    if error.code == "UNIMPLEMENTED":  # it is no server for workers
                        raise
                    why = str(error)
                if self._drained.is_set():
                    return
                delay_s = FIRST_DELAY_S if session.was_accepted else min(MAX_DELAY_S, max(FIRST_DELAY_S, delay_s * 2))
                logger.warning("the worker is not connected to %s, and tries again: %s", self._target, why)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay_s * random.uniform(0.5, 1)):
                        await self._drained.wait()
        finally:
            await connection.close()

    def drain(self) -> None:
        """Take no further calls, and end when those that are open are answered. May be called from any thread."""
        if self._loop is None:
            self._drained.set()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._drained.set)


class _Session:
    """One connection of a worker."""

    def __init__(
        self,
        connection: Connection,
        functions: Functions,
        registration: step_run_pb2.WorkerRegistration,
        drained: asyncio.Event,
    ) -> None:
        self.was_accepted = False
        self._connection = connection
        self._functions = functions
        self._registration = registration
        self._drained = drained

    async def serve(self) -> None:
        """Register, and answer calls until the server ends this, which it does when the worker is drained."""
        async with (
            self._connection.talk(self._connection.steps.ServeSteps, None) as line,
            outbox(line) as send,
        ):

            async def reply(said: step_run_pb2.CallReply) -> None:
                await send(_Request(reply=said))

            await send(_Request(register=self._registration))
            accepted = await self._first(line)
            if self._drained.is_set():
                return
            if accepted is None or accepted.WhichOneof("kind") != "accepted":
                raise errors.ServerError("the server did not accept the worker, and does not say why", code="INTERNAL")
            self.was_accepted = True
            logger.info("the worker %s is connected", accepted.accepted.worker_id)
            interval_s = _status.seconds(accepted.accepted.heartbeat_interval)
            calls = Calls(self._functions, reply)
            async with _beside(self._beat(send, interval_s)):
                try:
                    await self._read(line, calls, MISSED * interval_s)
                finally:
                    await calls.close()

    async def _first(self, line: _Line) -> step_run_pb2.ServeStepsResponse | None:
        """Wait for the server's first word, unless the worker is drained before."""
        reading = asyncio.ensure_future(line.read(self._connection.timeout_s))
        leaving = asyncio.ensure_future(self._drained.wait())
        try:
            await asyncio.wait([reading, leaving], return_when=asyncio.FIRST_COMPLETED)
            return reading.result() if reading.done() else None
        finally:
            for task in (reading, leaving):
                task.cancel()
            await asyncio.gather(reading, leaving, return_exceptions=True)

    async def _read(self, line: _Line, calls: Calls, silent_s: float) -> None:
        while (response := await line.read(silent_s)) is not None:
            match response.WhichOneof("kind"):
                case "call":
                    calls.begin(response.call)
                case "cancel_call":
                    calls.cancel(response.cancel_call.call_id)

    async def _beat(self, send: Callable[[_Request], Any], interval_s: float) -> None:
        """Say that the worker is alive, and once that it goes away."""
        is_leaving = False
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval_s):
                    await (asyncio.Event() if is_leaving else self._drained).wait()
            if self._drained.is_set() and not is_leaving:
                is_leaving = True
                await send(_Request(drain=step_run_pb2.WorkerDrain()))
            else:
                await send(_Request(heartbeat=step_run_pb2.WorkerHeartbeat()))


@contextlib.asynccontextmanager
async def _beside(work: Any) -> AsyncGenerator[None]:
    """Do something for as long as the block lasts."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def serve_steps(
    steps: Mapping[str, Callback], target: str = DEFAULT_TARGET, *, max_in_flight: int = 1, name: str = ""
) -> None:
    """Serve functions as steps until SIGTERM or Ctrl-C; `Worker` gives them schemas and versions too.

        stepwire.serve_steps({"shout": lambda text: text.upper() + "!"}, "localhost:50051")

    Args:
        steps: Functions by the names of the steps.
        target: Address of the server, `host:port`.
        max_in_flight: How many calls it takes at once, 1 to 1,000.
        name: What people call the worker; empty for its address.

    Raises:
        errors.Error: The server does not take these steps.
    """
    worker = Worker(target, max_in_flight=max_in_flight, name=name)
    for step, function in steps.items():
        worker.step(step)(function)
    worker.run()
