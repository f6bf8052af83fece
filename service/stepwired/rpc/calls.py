"""All calls that are being served: how many there may be, and how they end when the server does."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

from stepwired.errors import Failure, InvalidRequest, Reason, Subject, Throttled, Unavailable
from stepwired.events import Metrics, set_time_left
from stepwired.limits import MIB, Limits
from stepwired.rpc.call import REQUEST_ID, Call, Context, DeadlinePassed, Guard, request_id
from stepwired.rpc.listening import Listening
from stepwired.rpc.scan import MAX_FIELDS
from stepwired.rpc.stall import Incoming, StallWatch, unread, unsent

log = logging.getLogger(__name__)

#: What the deserializer returns for bytes that are no such message: the handler's wrapper answers it.
MALFORMED: Final = object()

#: The largest message that is sent: what a stock client reads. gRPC ends a call with a larger one without any reason.
MAX_MESSAGE_BYTES: Final = 4 * MIB

#: How long calls that were ended may take to clean up, and then to be told so.
_FINALIZERS_S = 5.0
_FAREWELL_S = 1.0


class Calls:
    """All calls of one server. Every handler is wrapped by it, once, when the server is made."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._live: set[Call] = set()
        self._places = 0
        self._busy = 0
        """Those of the places whose calls draining waits for."""

        self._tasks: set[asyncio.Task[Any]] = set()
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._ended = asyncio.Event()
        self._ended.set()

    def refusal(self) -> Failure | None:
        """Say why no further call is taken just now; None if one is."""
        if self._draining:
            return _draining()
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
        """Wrap a handler that answers once.

        Args:
            method: Its full name.
            handler: As generated code registers it.
            counted: Whether its calls take places of `max_calls`.
        """

        async def handle(request: Any, context: Context) -> Any:
            call = self._begin(method, context)
            guard = Guard(call)
            try:
                with guard:
                    self._admit(call, request, counted=counted)
                    response = await handler(request, context)
                    if (size := response.ByteSize()) > MAX_MESSAGE_BYTES:
                        raise too_large(size)
                    return response
            finally:
                self._end(call)
            assert guard.failure is not None
            return await call.fail(guard.failure)

        return handle

    def streaming(
        self, method: str, handler: Callable[[Any, Context], Any], *, counted: bool, endless: bool = False
    ) -> Callable[[Any, Context], Awaitable[None]]:
        """Wrap a handler that answers with a stream; see `unary`. Costs two attribute writes a message.

        Args:
            method: Its full name.
            handler: As generated code registers it.
            counted: Whether its calls take places of `max_calls`.
            endless: Whether its calls are ended as soon as the server drains, because only their callers end them.
        """
        generates = inspect.isasyncgenfunction(handler)

        async def handle(request: Any, context: Context) -> None:
            call = self._begin(method, context)
            call.is_endless = endless
            write = context.write
            guard = Guard(call)
            limit_s = self._limits.stalled_reader_s
            stalled = StallWatch(lambda: call.writing, call.end, limit_s, unread(limit_s))
            try:
                with guard:
                    self._admit(call, request, counted=counted)
                    if generates:
                        async with aclosing(handler(request, context)) as responses:
                            async for response in responses:  # the way of a token
                                call.writing = response
                                await write(response)
                                call.writing = True
                    else:  # the health service writes by itself
                        await handler(request, context)
                    return
            finally:
                stalled.stop()
                self._end(call)
            assert guard.failure is not None
            await call.fail(guard.failure)

        return handle

    def collecting(
        self, method: str, handler: Callable[[Any, Context], Awaitable[Any]], *, counted: bool
    ) -> Callable[[Any, Context], Awaitable[Any]]:
        """Wrap a handler that reads a stream, message by message, and answers once; see `unary`."""

        async def handle(requests: AsyncIterator[Any], context: Context) -> Any:
            call = self._begin(method, context)
            incoming = Incoming(requests)
            limit_s = self._limits.stalled_sender_s
            stalled = StallWatch(lambda: incoming.awaited, call.end, limit_s, unsent(limit_s))
            guard = Guard(call)
            try:
                with guard:
                    self._admit(call, None, counted=counted)
                    return await handler(incoming, context)
            finally:
                stalled.stop()
                self._end(call)
            assert guard.failure is not None
            return await call.fail(guard.failure)

        return handle

    def conversing(
        self, method: str, handler: Callable[[Any, Context], Any], *, counted: bool, serving: bool = False
    ) -> Callable[[AsyncIterator[Any], Context], Awaitable[None]]:
        """Wrap a handler that reads a stream and answers with one, both at once; see `unary`.

        The first message has to come within `stalled_sender_s`; when others have to, only the handler knows.

        Args:
            method: Its full name.
            handler: As generated code registers it. May stop waiting for a message at any time.
            counted: Whether its calls take places of `max_calls`.
            serving: Whether its callers serve the calls of others, so that draining ends it when those have ended.
        """

        async def handle(requests: AsyncIterator[Any], context: Context) -> None:
            call = self._begin(method, context)
            call.is_serving = serving
            guard = Guard(call)
            heard = Listening(requests)
            limits = self._limits
            stalled = (
                StallWatch(lambda: call.writing, call.end, limits.stalled_reader_s, unread(limits.stalled_reader_s)),
                StallWatch(lambda: heard.awaited, call.end, limits.stalled_sender_s, unsent(limits.stalled_sender_s)),
            )
            try:
                with guard:
                    self._admit(call, None, counted=counted)
                    self._track(asyncio.create_task(heard.listen()))  # ends when the call has, and is waited for then
                    async with aclosing(handler(heard, context)) as responses:
                        async for response in responses:
                            call.writing = response
                            await context.write(response)
                            call.writing = True
                    return
            finally:
                heard.leave()
                for each in stalled:
                    each.stop()
                self._end(call)
            assert guard.failure is not None
            await call.fail(guard.failure)

        return handle

    def rejecting(self, method: str, failure: Failure) -> Callable[[Any, Context], Awaitable[None]]:
        """Make a handler that fails without reading what the caller sends."""

        async def handle(_: Any, context: Context) -> None:
            call = self._begin(method, context)
            self._end(call)
            await call.fail(failure)

        return handle

    async def drain(self, grace_s: float) -> None:
        """Take no further calls, give those that run `grace_s`, end the others and wait until they have cleaned up."""
        self._draining = True
        for call in tuple(self._live):
            if call.is_endless:
                call.end(_draining())
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            log.info("draining: %d calls were ended after %.1f s", self._busy, grace_s)
        for call in tuple(self._live):
            call.end(_draining())
        try:
            async with asyncio.timeout(_FINALIZERS_S):
                await self._ended.wait()
        except TimeoutError:
            log.warning(
                "draining: %d calls had not ended %.0f s after they were told to", len(self._live), _FINALIZERS_S
            )
        if self._tasks:  # what readers that do not read cannot be told, the end of their connection tells
            await asyncio.wait(self._tasks, timeout=_FAREWELL_S)

    async def join(self) -> None:
        """Wait until the last handler is gone."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(self, method: str, context: Context) -> Call:
        task = asyncio.current_task()
        assert task is not None
        call = Call(method, context, task, self._metrics, request_id(context))
        # Once for all: sent with whichever status the call ends.
        context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
        self._live.add(call)
        self._ended.clear()
        self._track(task)
        return call

    def _track(self, task: asyncio.Task[Any]) -> None:
        """Have the end of the server wait for `task`."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _admit(self, call: Call, request: Any, *, counted: bool) -> None:
        if counted:
            if (refusal := self.refusal()) is not None:
                raise refusal
            call.has_place = True
            self._places += 1
            if not call.is_serving:
                self._busy += 1
                self._idle.clear()
        if request is MALFORMED:
            raise InvalidRequest(
                Reason.MALFORMED_REQUEST,
                "the request is no valid message of its type: cut off, text that is not UTF-8, nested too deep, "
                f"or of more than {MAX_FIELDS} parts",
            )
        left_s = call.context.time_remaining()
        if left_s == 0:  # gRPC itself says so only a little later
            raise DeadlinePassed
        set_time_left(left_s)

    def _end(self, call: Call) -> None:
        call.over()
        self._live.discard(call)
        if not self._live:
            self._ended.set()
        if call.has_place:
            call.has_place = False
            self._places -= 1
            if not call.is_serving:
                self._busy -= 1
                if not self._busy:
                    self._idle.set()


def _draining() -> Failure:
    return Unavailable(Reason.SERVER_DRAINING, "the server is shutting down; try again")


def too_large(size: int) -> Failure:
    """How a call fails whose message would have `size` bytes."""
    return Throttled(
        Reason.RESPONSE_TOO_LARGE,
        f"a message of the reply would have {size} bytes, and clients read at most {MAX_MESSAGE_BYTES}",
        metadata={"limitBytes": str(MAX_MESSAGE_BYTES)},
    )
