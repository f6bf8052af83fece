"""Answers the server's calls of functions in Python: side by side, each at the pace at which its results are taken."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

from google.protobuf.struct_pb2 import Value

from stepwire import _requests, _values
from stepwire._apart import Hand
from stepwire._functions import Function, Functions
from stepwire.v1 import step_run_pb2

logger = logging.getLogger("stepwire")

#: Sends a reply, when there is room for it.
Send = Callable[[step_run_pb2.CallReply], Awaitable[None]]
Arguments = tuple[Any, ...]

MAX_VALUE_BYTES = 16 * 2**20 - 2**10
"""Of one value. A server takes no larger message: it would end the stream, and with it all other calls on it."""

MAX_THREADS = 1000
"""Functions that are no coroutines and run at once, those included that nobody waits for any more."""


class _End:
    """What an exhausted generator is read as."""


_END: Final = _End()


class Thread:
    """A thread that is lent: does jobs in order."""

    def __init__(self, hand: Hand) -> None:
        self.is_busy = False
        """Whether a job runs in it. After its end: one that nobody waits for."""
        self._hand = hand
        self._context = contextvars.copy_context()

    async def do(self, job: Callable[[], Any]) -> Any:
        """Do a job; what it returns or raises. If this is cancelled the job goes on, and its outcome is dropped."""
        self.is_busy = True
        result, raised = await self._hand.do(partial(self._context.run, _outcome, job))
        self.is_busy = False
        if raised is not None:
            raise raised
        return result

    def later(self, job: Callable[[], object]) -> None:
        """Do a job behind all others; what it raises is logged."""

        def run() -> None:
            _, raised = self._context.run(_outcome, job)
            if raised is not None:
                logger.error("a function that was left raised", exc_info=raised)

        self._hand.leave(run)


def _outcome(job: Callable[[], Any]) -> tuple[Any, Exception | None]:
    try:
        return job(), None
    except Exception as raised:  # noqa: BLE001  it goes to whoever waits; a future would refuse StopIteration
        return None, raised
    except BaseException as raised:  # noqa: BLE001  else the thread were gone, and its call never answered
        wrapped = RuntimeError(f"the function raised {type(raised).__name__}")
        wrapped.__cause__ = raised
        return None, wrapped


class Threads:
    """Lends threads, which are used again.

    They are daemons: a function that hangs does not hold up the end of the program.
    """

    def __init__(self) -> None:
        self._idle: list[Hand] = []
        self._room = asyncio.Semaphore(MAX_THREADS)
        self._is_closed = False

    @asynccontextmanager
    async def lend(self) -> AsyncGenerator[Thread]:
        """Lend a thread. One that is given back with a job still running ends with that, and counts until then."""
        await self._room.acquire()
        hand = self._idle.pop() if self._idle else Hand("stepwire-function").__enter__()
        thread = Thread(hand)
        try:
            yield thread
        finally:
            if thread.is_busy:
                hand.leave(partial(_tell, asyncio.get_running_loop(), self._room.release))
                hand.__exit__(None, None, None)
            else:
                self._room.release()
                if self._is_closed:
                    hand.__exit__(None, None, None)
                else:
                    self._idle.append(hand)

    def close(self) -> None:
        """End them all, as soon as they have nothing to do."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().__exit__(None, None, None)


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is gone: nobody waits any more
        loop.call_soon_threadsafe(what)


class Calls:
    """The calls that are open on one stream.

    Args:
        functions: What can be called.
        send: Takes the replies. Never called twice for one call at once.
    """

    def __init__(self, functions: Functions, send: Send) -> None:
        self._functions = functions
        self._send = send
        self._threads = Threads()
        self._open: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, call: step_run_pb2.Call) -> None:
        """Begin to answer a call."""
        task = asyncio.get_running_loop().create_task(self._answer(call))
        self._open[call.call_id] = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self, call_id: str) -> None:
        """End a call that is no longer needed. A function in a thread goes on, and its result is dropped."""
        if task := self._open.pop(call_id, None):
            task.cancel()

    async def close(self) -> None:
        """End all calls, and wait for their coroutines."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.close()

    async def _answer(self, call: step_run_pb2.Call) -> None:
        is_answered = False
        try:
            try:
                done = await self._done(call)
            except Exception as raised:  # noqa: BLE001  whatever it is, the run is told
                await self._say(call, error=self._functions.note(raised))
            else:
                await self._say(call, done=done)
            is_answered = True
        finally:
            task = asyncio.current_task()
            if not is_answered and task is not None and not task.cancelling():  # cancelled by itself
                failure = step_run_pb2.CallError(message="the function was cancelled", error_type="CancelledError")
                await self._say(call, error=failure)
            self._open.pop(call.call_id, None)

    async def _done(self, call: step_run_pb2.Call) -> step_run_pb2.CallDone:
        """Call the function, send what it yields, and say what it ends with."""
        found = self._functions[call.function]
        if found is None:
            raise LookupError(f"there is no function {call.function!r} here")
        arguments = found.manner.arguments(_values.from_value(call.input))
        if _is_made_in_the_loop(found.function):
            return await self._rest(call, found, arguments, found.function(*arguments))
        async with self._threads.lend() as thread:
            made = await thread.do(partial(found.function, *arguments))
            if inspect.isgenerator(made):
                try:
                    while not isinstance(item := await thread.do(partial(next, made, _END)), _End):
                        await self._output(call, found, arguments, item)
                finally:
                    thread.later(made.close)
                return step_run_pb2.CallDone()
        return await self._rest(call, found, arguments, made)

    async def _rest(
        self, call: step_run_pb2.Call, found: Function, arguments: Arguments, made: Any
    ) -> step_run_pb2.CallDone:
        if inspect.isawaitable(made):
            made = await made
        if inspect.isasyncgen(made):
            async with aclosing(made):
                async for item in made:
                    await self._output(call, found, arguments, item)
            return step_run_pb2.CallDone()
        return step_run_pb2.CallDone(outputs=[_value(found, arguments, made)])

    async def _output(self, call: step_run_pb2.Call, found: Function, arguments: Arguments, item: Any) -> None:
        await self._say(call, output=_value(found, arguments, item))

    async def _say(self, call: step_run_pb2.Call, **kind: Any) -> None:
        await self._send(step_run_pb2.CallReply(call_id=call.call_id, **kind))


def _value(found: Function, arguments: Arguments, returned: Any) -> Value:
    """What a function returned or yielded, as the wire has it."""
    with _requests.checked():
        value = _values.to_value(found.manner.result(returned, arguments))
    if (size_bytes := value.ByteSize()) > MAX_VALUE_BYTES:
        raise ValueError(f"the function made a value of {size_bytes} bytes: a message carries {MAX_VALUE_BYTES}")
    return value


def _is_made_in_the_loop(function: Callable[..., Any]) -> bool:
    """Whether calling it does nothing but make a coroutine or an asynchronous generator."""
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
