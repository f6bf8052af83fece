"""One connection to one server, and the rules that every call on it keeps."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import grpc
import grpc.aio

from stepwire import _channel, _status, errors
from stepwire._line import FAILED_WRITE, Line, ending
from stepwire.v1 import chat_pb2_grpc, conversation_pb2_grpc, embed_pb2_grpc, pipeline_pb2_grpc, step_run_pb2_grpc

if TYPE_CHECKING:
    from stepwire.v1.chat_pb2_grpc import ChatServiceAsyncStub
    from stepwire.v1.conversation_pb2_grpc import ConversationServiceAsyncStub
    from stepwire.v1.embed_pb2_grpc import EmbedServiceAsyncStub
    from stepwire.v1.pipeline_pb2_grpc import PipelineServiceAsyncStub
    from stepwire.v1.step_run_pb2_grpc import StepRunServiceAsyncStub

Q = TypeVar("Q")
R = TypeVar("R")

#: What is sent beside a request: names and values.
Metadata: TypeAlias = tuple[tuple[str, str], ...] | None


class Connection:
    """Makes calls that end when they are left, keep their time, and fail with errors of our own.

    gRPC ties a channel to the event loop that is running: the channel is opened by the first call.
    """

    def __init__(self, target: str, *, timeout_s: float, long_timeout_s: float, idle_s: float) -> None:
        self.target = target
        self.timeout_s = timeout_s
        self.long_timeout_s = long_timeout_s
        self._idle_s = idle_s
        self._channel: grpc.aio.Channel | None = None
        self._is_closed = False

    @property
    def idle_s(self) -> float:
        """How long a stream may be silent."""
        return self._idle_s

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be called any more."""
        return self._is_closed

    async def close(self) -> None:
        """End all calls and the connection; nothing can be called afterwards. May be called again."""
        self._is_closed = True
        if self._channel is not None:
            await self._channel.close()

    @cached_property
    def chat(self) -> ChatServiceAsyncStub:
        return chat_pb2_grpc.ChatServiceStub(self._open())

    @cached_property
    def embed(self) -> EmbedServiceAsyncStub:
        return embed_pb2_grpc.EmbedServiceStub(self._open())

    @cached_property
    def conversations(self) -> ConversationServiceAsyncStub:
        return conversation_pb2_grpc.ConversationServiceStub(self._open())

    @cached_property
    def steps(self) -> StepRunServiceAsyncStub:
        return step_run_pb2_grpc.StepRunServiceStub(self._open())

    @cached_property
    def pipelines(self) -> PipelineServiceAsyncStub:
        return pipeline_pb2_grpc.PipelineServiceStub(self._open())

    async def unary(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Q, R],
        request: Q,
        timeout_s: float | None,
        *,
        is_long: bool = False,
        metadata: Metadata = None,
    ) -> R:
        """Call and wait for the answer. Cancelling the task that waits cancels the call.

        Args:
            method: The stub's method.
            request: Its request.
            timeout_s: The caller's own limit; None for the connection's.
            is_long: Whether a model has to write while we wait.
            metadata: Sent beside the request.
        """
        self._open()
        limit_s = timeout_s if timeout_s is not None else self.long_timeout_s if is_long else self.timeout_s
        call = method(request, timeout=_finite(limit_s), metadata=metadata)
        with self._own_errors():
            return await call

    async def stream(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[Q, R],
        request: Q,
        timeout_s: float | None,
        *,
        idle_s: float | None = None,
        metadata: Metadata = None,
    ) -> AsyncGenerator[R, None]:
        """Call and yield the answers. Closing the generator cancels the call: a bare gRPC call would run on.

        Args:
            method: The stub's method.
            request: Its request.
            timeout_s: For the whole of it; None for no limit.
            idle_s: How long it may be silent; None for the connection's own limit.
            metadata: Sent beside the request.
        """
        self._open()
        call = method(request, timeout=_finite(timeout_s), metadata=metadata)
        try:
            while (response := await self._read(call.read, self._idle_s if idle_s is None else idle_s)) is not None:
                yield response
        finally:
            call.cancel()  # does nothing to a call that is over

    async def upload(
        self,
        method: grpc.aio.StreamUnaryMultiCallable[Q, R],
        requests: AsyncGenerator[Q, None],
        timeout_s: float | None,
    ) -> R:
        """Call with many requests and wait for the one answer, which may come before all is sent.

        Request by request: an iterator handed to gRPC that raises would end the call as cancelled, and its error be
        lost. `requests` is closed at the end.
        """
        self._open()
        async with aclosing(requests):
            call = method(timeout=_finite(self.long_timeout_s if timeout_s is None else timeout_s))
            endings: list[grpc.aio.AioRpcError] = []
            call.add_done_callback(lambda ended: endings.append(ending(ended)))
            try:
                with self._own_errors(endings):
                    async for request in requests:
                        try:
                            await call.write(request)
                        except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
                            break  # refused already: the answer says why
                    else:
                        await call.done_writing()
                    return await call
            finally:
                call.cancel()

    def converse(
        self, method: grpc.aio.StreamStreamMultiCallable[Q, R], timeout_s: float | None, metadata: Metadata = None
    ) -> Line[Q, R]:
        """Begin a call in which both sides talk. It has to be cancelled at the end."""
        self._open()
        return Line(self, method(timeout=_finite(timeout_s), metadata=metadata))

    @asynccontextmanager
    async def talk(
        self, method: grpc.aio.StreamStreamMultiCallable[Q, R], timeout_s: float | None
    ) -> AsyncGenerator[Line[Q, R]]:
        """As `converse`, for as long as the context lasts."""
        line = self.converse(method, timeout_s)
        try:
            yield line
        finally:
            line.cancel()

    async def _read(self, read: Callable[[], Awaitable[Any]], idle_s: float) -> Any:
        """Read one message; None at the end."""
        try:
            with self._own_errors():
                async with asyncio.timeout(_finite(idle_s)):
                    response = await read()
        except TimeoutError:
            raise errors.DeadlineExceeded(
                f"{self.target} sent nothing for {idle_s:g} s", code="DEADLINE_EXCEEDED"
            ) from None
        return None if response is grpc.aio.EOF else response

    @contextmanager
    def _own_errors(self, endings: Sequence[grpc.aio.AioRpcError] = ()) -> Generator[None]:
        """Raise errors of our own: what the call ended with first, where `endings` has noted that."""
        try:
            yield
        except grpc.aio.AioRpcError as failed:
            # A write that fails because the call has ended replaces what it ended with, or is replaced by it (grpc
            # issue 36066, open).
            told = [each for each in endings if each.details() != FAILED_WRITE]
            raise _status.of_call(told[0] if told else failed, self.target) from None
        except asyncio.CancelledError:
            # Closing the channel ends calls this way too, in tasks that nobody has cancelled and that
            # would pass for cancelled if they went on like this.
            task = asyncio.current_task()
            if self._is_closed and task is not None and not task.cancelling():
                raise errors.Cancelled("the client was closed", code="CANCELLED") from None
            raise

    def _open(self) -> grpc.aio.Channel:
        if self._is_closed:
            raise RuntimeError("this client is closed")
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self.target, options=_channel.options())
        return self._channel


def _finite(limit_s: float | None) -> float | None:
    return None if limit_s is None or math.isinf(limit_s) else limit_s
