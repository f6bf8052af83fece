"""Wraps the handlers of calls: admission before them, and one end for whatever may happen in them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

from stepwired.errors import Failure, InvalidRequest, Reason, Throttled
from stepwired.events import Metrics, set_time_left
from stepwired.limits import MIB, Limits
from stepwired.rpc.call import REQUEST_ID, Call, Context, DeadlinePassed, Guard, request_id
from stepwired.rpc.listening import Listening
from stepwired.rpc.places import Places
from stepwired.rpc.scan import MAX_FIELDS
from stepwired.rpc.stall import Incoming, StallWatch, unread, unsent

#: What the deserializer returns for bytes that are no such message: the handler's wrapper answers it.
MALFORMED: Final = object()

#: The largest message that is sent: what a stock client reads. gRPC ends a call with a larger one without any reason.
MAX_MESSAGE_BYTES: Final = 4 * MIB


class Calls:
    """All calls of one server. Every handler is wrapped by it, once, when the server is made."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self.places = Places(limits)
        """Whoever takes one of them through another front is served and drained as its own calls are."""

    def refusal(self) -> Failure | None:
        """Say why no further call is taken just now; None if one is."""
        return self.places.refusal()

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
                    self._track(asyncio.create_task(heard.listen()), context)  # ends when the call has
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

    def _begin(self, method: str, context: Context) -> Call:
        task = asyncio.current_task()
        assert task is not None
        call = Call(method, context, task, self._metrics, request_id(context))
        # Once for all: sent with whichever status the call ends.
        context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
        self.places.enter(call)
        self._track(task, context)
        return call

    def _track(self, task: asyncio.Task[Any], context: Context) -> None:
        self.places.track(task, is_ours=not getattr(context, "has_front", False))

    def _admit(self, call: Call, request: Any, *, counted: bool) -> None:
        if counted:
            self.places.take(call)
        if isinstance(request, InvalidRequest):  # in place of a message: it could not be read, and it is known why
            raise request
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
        self.places.leave(call)


def too_large(size: int) -> Failure:
    """How a call fails whose message would have `size` bytes."""
    return Throttled(
        Reason.RESPONSE_TOO_LARGE,
        f"a message of the reply would have {size} bytes, and clients read at most {MAX_MESSAGE_BYTES}",
        metadata={"limitBytes": str(MAX_MESSAGE_BYTES)},
    )
