"""One call: its id, what ends it, and the one thing its caller is told about its end."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NoReturn

import grpc
import grpc.aio

from stepwired.callers import crash, is_request_id
from stepwired.errors import Broken, Failure, Reason, Unavailable
from stepwired.events import Metrics
from stepwired.rpc import status

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]

REQUEST_ID = "x-request-id"

#: How long a call that we end may take to write the message it is at, and how often we look whether it has.
_WRITE_S = 1.0
_LOOK_S = 0.005


class DeadlinePassed(Exception):
    """The caller stopped waiting before the call began."""


@dataclass(slots=True, eq=False)
class Call:
    """A call that is being served."""

    method: str
    context: Context
    task: asyncio.Task[Any]
    metrics: Metrics
    request_id: str
    started_s: float = field(default_factory=time.monotonic)
    has_place: bool = False
    """Whether it takes one of the places of `max_calls`."""

    is_endless: bool = False
    """Whether only its caller ends it, so that draining does not wait for it."""

    is_serving: bool = False
    """Whether its caller serves the calls of others, so that draining ends it when those have ended."""

    ended_by: Failure | None = None
    """Why we ended it ourselves."""

    writing: Any = None
    """The message on its way to the reader; True between messages; None before the first."""

    was_cancelled: bool = False
    """Whether we cancelled the task, to end the call ourselves."""

    _ending: asyncio.TimerHandle | None = None

    def end(self, failure: Failure) -> None:
        """Have the call fail with `failure` as soon as its generators are closed. The first to ask wins."""
        if self.ended_by is None:
            self.ended_by = failure
            self._cancel(_WRITE_S)

    def over(self) -> None:
        """Take note that the handler's work is done, so that nothing is left to be ended."""
        if self._ending is not None:
            self._ending.cancel()

    def _cancel(self, patience_s: float) -> None:
        """Cancel the task between two messages: whoever cancels a write takes from gRPC the knowledge that it sent the
        headers, and it can send no status then. A reader that does not read is given up after `patience_s`.
        """
        if patience_s > 0 and self.writing is not None and self.writing is not True:
            loop = asyncio.get_running_loop()
            self._ending = loop.call_later(_LOOK_S, self._cancel, patience_s - _LOOK_S)
            return
        self.was_cancelled = True
        self.task.cancel()

    @property
    def is_abandoned(self) -> bool:
        """Whether gRPC cancelled the task: by the client's wish, the deadline or the loss of the connection."""
        return self.task.cancelling() > self.was_cancelled

    def failure_of(self, error: BaseException) -> Failure | None:
        """What to tell the caller, who still listens, about an exception; None if it is none of our business."""
        if self.ended_by is not None:
            return self.ended_by
        if isinstance(error, Failure):
            return error
        if isinstance(error, asyncio.CancelledError):
            # Nobody cancelled this task: a step or a provider cancelled something of its own. Left to gRPC, the
            # client would wait for ever.
            return Unavailable(Reason.INTERNAL_CANCELLED, "the server cancelled its own work; try again")
        if isinstance(error, Exception):
            line = "call crashed request_id=%s method=%s %s"
            log.error(line, self.request_id, self.method, crash(error))
            return Broken(Reason.INTERNAL, f"internal error; request_id {self.request_id}")
        return None

    async def fail(self, failure: Failure | DeadlinePassed) -> NoReturn:
        """Tell the caller that the call failed."""
        if isinstance(failure, DeadlinePassed):
            self.record("DEADLINE_EXCEEDED", "")
            await self.context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the call began")
        said = status.of(failure, self.request_id, partial=self.writing is not None)
        code, reason = said.code.name, failure.reason
        self.record(code, reason)
        line = "call failed request_id=%s method=%s code=%s reason=%s"
        log.warning(line, self.request_id, self.method, code, reason)
        await self.context.abort(said.code, said.message, said.trailers(self.request_id))

    def record(self, code: str, reason: str) -> None:
        """Count the call, which is over."""
        self.metrics.call_ended(self.method, code, reason, time.monotonic() - self.started_s)


class Guard:
    """Around the work of a call: catches what its caller has to be told, and lets the rest through.

    A context manager and not a coroutine around the work, because each coroutine more is gone through twice for
    every message.
    """

    __slots__ = ("_call", "failure")

    def __init__(self, call: Call) -> None:
        self._call = call
        self.failure: Failure | DeadlinePassed | None = None

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        call = self._call
        if error is None:
            call.record("OK", "")
            return False
        if call.is_abandoned:
            call.record("DEADLINE_EXCEEDED" if call.context.time_remaining() == 0 else "CANCELLED", "")
            if isinstance(error, asyncio.CancelledError):
                return False
            # Whatever cleaning up ran into: to answer a call that nobody listens to leaks memory in gRPC.
            raise asyncio.CancelledError from error
        # The connection broke while we wrote. What is too large to be sent never gets to gRPC; see `Calls.bounded`.
        if isinstance(error, grpc.aio.InternalError):
            call.record("CANCELLED", "")
            return False
        if isinstance(error, grpc.aio.AbortError):  # the health service answers by itself
            call.record(call.context.code().name, "")
            return False
        self.failure = error if isinstance(error, DeadlinePassed) else call.failure_of(error)
        if call.was_cancelled:
            call.task.uncancel()  # it was our own cancellation, and it is answered
        return self.failure is not None


def request_id(context: Context) -> str:
    """Take the caller's id if it is one that is safe to repeat and to log, or make one."""
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID:
            if isinstance(value, str) and is_request_id(value):
                return value
            break
    return str(uuid.uuid4())
