"""One call from its request to its status: its id, its limits, what ends it, and what its caller is told."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeVar

import grpc

from stepwired.errors import Broken, Failure, InvalidRequest, Reason, Subject, Throttled, Unavailable
from stepwired.events import Metrics
from stepwired.limits import Limits
from stepwired.rpc import status
from stepwired.rpc.stall import StallWatch

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
T = TypeVar("T")

#: What the deserializer returns for bytes that are no such message: the handler's wrapper answers it.
MALFORMED: Final = object()

_REQUEST_ID = "x-request-id"
_MAX_REQUEST_ID = 36
_FINALIZERS_S = 5.0


@dataclass(slots=True, eq=False)
class Call:
    """A call that is being served."""

    method: str
    context: Context
    task: asyncio.Task[Any]
    request_id: str
    started_s: float = field(default_factory=time.monotonic)
    counted: bool = True
    """Whether it takes one of the places of `max_calls`; health and reflection do not."""

    admitted: bool = False

    ended_by: Failure | None = None
    """Why we ended it ourselves."""

    writing: Any = None
    """The message on its way to the reader; True between messages; None before the first."""

    def end(self, failure: Failure) -> None:
        """Have the call fail with `failure` as soon as its generators are closed. The first to ask wins."""
        if self.ended_by is None:
            self.ended_by = failure
            self.task.cancel()

    def why_cancelled(self) -> Failure | None:
        """After a CancelledError: what to tell the caller; None if nobody listens any more.

        gRPC cancels the task when the client cancels, the deadline passes or the connection is lost, and then
        nothing may be sent. An error that came without anybody cancelling this task is a defect of a step or a
        provider; left to gRPC, the client would wait for ever.
        """
        ours = 0 if self.ended_by is None else 1
        if self.task.cancelling() > ours:
            return None
        if self.ended_by is not None:
            self.task.uncancel()
            return self.ended_by
        return Unavailable(Reason.INTERNAL_CANCELLED, "the server cancelled its own work; try again")


class Calls:
    """All calls of one server. Every handler is wrapped by it, once, when the server is made."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._live: set[Call] = set()
        self._places = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    def refusal(self) -> Failure | None:
        """Say why no further call is taken just now; None if one is."""
        if self._draining:
            return Unavailable(Reason.SERVER_DRAINING, "the server is shutting down; try again")
        if self._places >= self._limits.max_calls:
            return Throttled(
                Reason.CONCURRENCY_LIMITED,
                f"the server serves {self._limits.max_calls} calls already; try again",
                metadata={"limit": str(self._limits.max_calls)},
                subject=Subject("server", "calls"),
            )
        return None

    def unary(
        self, method: str, handler: Callable[[Any, Context], Awaitable[Any]], *, counted: bool
    ) -> Callable[[Any, Context], Awaitable[Any]]:
        """Wrap a handler that answers once."""

        async def handle(request: Any, context: Context) -> Any:
            call = self._begin(method, context, counted=counted)

            async def work() -> Any:
                await self._admit(call, request)
                return await handler(request, context)

            return await self._guard(call, work())

        return handle

    def streaming(
        self, method: str, handler: Callable[[Any, Context], Any], *, counted: bool
    ) -> Callable[[Any, Context], Awaitable[None]]:
        """Wrap a handler that answers with a stream. Costs two attribute writes a message."""
        generates = inspect.isasyncgenfunction(handler)

        async def handle(request: Any, context: Context) -> None:
            call = self._begin(method, context, counted=counted)

            async def work() -> None:
                await self._admit(call, request)
                if generates:
                    await self._pump(call, handler(request, context))
                else:  # the health service writes by itself
                    await handler(request, context)

            await self._guard(call, work())

        return handle

    def rejecting(self, method: str, failure: Failure) -> Callable[[Any, Context], Awaitable[None]]:
        """Make a handler that fails without reading what the caller sends."""

        async def handle(_: Any, context: Context) -> None:
            call = self._begin(method, context, counted=False)
            self._end(call)
            await self._abort(call, failure)

        return handle

    async def drain(self, grace_s: float) -> None:
        """Take no further calls, give those that run `grace_s`, end the others and wait until they have cleaned up."""
        self._draining = True
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            log.info("draining: %d calls were ended after %.1f s", self._places, grace_s)
        for call in tuple(self._live):
            call.end(Unavailable(Reason.SERVER_DRAINING, "the server is shutting down; try again"))
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=_FINALIZERS_S)
            if left:  # what cannot be told to readers that do not read, ends with their connection
                log.warning("draining: %d calls had not ended %.0f s after they were told to", len(left), _FINALIZERS_S)

    async def join(self) -> None:
        """Wait until the last handler is gone."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(self, method: str, context: Context, *, counted: bool) -> Call:
        task = asyncio.current_task()
        assert task is not None
        call = Call(method, context, task, _request_id(context), counted=counted)
        # Once for all: sent with whichever status the call ends.
        context.set_trailing_metadata(((_REQUEST_ID, call.request_id),))
        self._live.add(call)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return call

    async def _admit(self, call: Call, request: Any) -> None:
        if call.counted:
            if (refusal := self.refusal()) is not None:
                raise refusal
            call.admitted = True
            self._places += 1
            self._idle.clear()
        if request is MALFORMED:
            raise InvalidRequest(
                Reason.MALFORMED_REQUEST,
                "the request is no valid message of its type: cut off, text that is not UTF-8, or nested too deep",
            )
        if call.context.time_remaining() == 0:  # gRPC itself says so only a little later
            await call.context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the call began")

    async def _pump(self, call: Call, responses: AsyncGenerator[Any, None]) -> None:
        """Send a stream: the way of a token."""
        write = call.context.write
        stalled = StallWatch(call, self._limits.stalled_reader_s)
        try:
            async with aclosing(responses):
                async for response in responses:
                    call.writing = response
                    await write(response)
                    call.writing = True
        finally:
            stalled.stop()

    async def _guard(self, call: Call, work: Coroutine[Any, Any, T]) -> T:
        """Turn whatever ends `work` into the one thing its caller is told."""
        try:
            result = await work
        except asyncio.CancelledError:
            failure = call.why_cancelled()
            if failure is None:  # nobody listens: writing, aborting or returning would leak
                self._record(call, "DEADLINE_EXCEEDED" if call.context.time_remaining() == 0 else "CANCELLED", "")
                raise
        except Failure as caught:
            failure = caught
        except grpc.aio.AbortError:
            self._record(call, _name(call.context.code()), "")
            raise
        except grpc.aio.InternalError:  # the connection broke while we wrote
            self._record(call, "CANCELLED", "")
            raise
        except Exception:
            failure = Broken(Reason.INTERNAL, f"internal error; request_id {call.request_id}")
            log.exception("call crashed request_id=%s method=%s", call.request_id, call.method)
        else:
            self._record(call, "OK", "")
            return result
        finally:
            self._end(call)
        return await self._abort(call, failure)

    async def _abort(self, call: Call, failure: Failure) -> NoReturn:
        said = status.of(failure, call.request_id, partial=call.writing is not None)
        self._record(call, said.code.name, failure.reason)
        log.warning(
            "call failed request_id=%s method=%s code=%s reason=%s",
            call.request_id,
            call.method,
            said.code.name,
            failure.reason,
        )
        await call.context.abort(said.code, said.message, said.trailers(call.request_id))
        raise AssertionError("abort raises")

    def _record(self, call: Call, code: str, reason: str) -> None:
        self._metrics.call_ended(call.method, code, reason, time.monotonic() - call.started_s)

    def _end(self, call: Call) -> None:
        self._live.discard(call)
        if call.admitted:
            call.admitted = False
            self._places -= 1
            if not self._places:
                self._idle.set()


def _request_id(context: Context) -> str:
    """Take the caller's id if it is one that is safe to repeat and to log, or make one."""
    for key, value in context.invocation_metadata() or ():
        if key == _REQUEST_ID:
            if isinstance(value, str) and 0 < len(value) <= _MAX_REQUEST_ID and value.isascii() and value.isprintable():
                return value
            break
    return str(uuid.uuid4())


def _name(code: grpc.StatusCode | None) -> str:
    return code.name if code is not None else "UNKNOWN"
