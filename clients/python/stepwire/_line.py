"""A call in which both sides talk, mended where gRPC loses what came before a write that failed, and why it did."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import grpc
import grpc.aio

from stepwire import _status, errors
from stepwire._at_once import at_once

if TYPE_CHECKING:
    from stepwire._connection import Connection

Q = TypeVar("Q")
R = TypeVar("R")

FAILED_WRITE = "Internal error from Core"

ENDING_S = 5.0
"""How long what a call ended with may come after a write that failed because of that."""


class Line(Generic[Q, R]):
    """One call in which both sides talk. One task may read while another writes."""

    def __init__(self, connection: Connection, call: grpc.aio.StreamStreamCall[Q, R]) -> None:
        self._connection = connection
        self._call = call
        # Not by `call.read`: after a write that failed, because the call has ended, that gives no more of what came.
        self._responses = call.__aiter__()
        self._ending: grpc.aio.AioRpcError | None = None
        self._ended = asyncio.Event()
        self._has_failed = False
        call.add_done_callback(self._note)

    async def read(self, idle_s: float = math.inf) -> R | None:
        """Wait for the next message; None at the end.

        Args:
            idle_s: How long the other side may be silent.

        Raises:
            errors.Error: The call failed, or the other side was silent for too long.
        """
        try:
            read: R | None = await self._connection._read(lambda: anext(self._responses, grpc.aio.EOF), idle_s)
            return read
        except errors.ServerError as failed:
            if failed.message != FAILED_WRITE:
                raise
            # It is a write that failed, because the call has ended; with what, is about to be told.
            with suppress(TimeoutError):
                async with asyncio.timeout(ENDING_S):
                    await self._ended.wait()
            if self._ending is None:
                raise
        if self._ending.code() is grpc.StatusCode.OK:
            return None
        raise _status.of_call(self._ending, self._connection.target)

    def _note(self, call: grpc.aio.Call) -> None:
        told = ending(call)
        if told.details() != FAILED_WRITE:
            self._ending = told
            self._ended.set()

    async def write(self, request: Q) -> bool:
        """Send a message, when there is room for it. Not to be cancelled, unless the call is to end with it.

        Returns:
            Whether it could be sent; False after the end of the call, of which `read` tells.
        """
        try:
            await self._call.write(request)
        except asyncio.InvalidStateError:
            return False
        except grpc.aio.AioRpcError:
            self._has_failed = True
            return False
        return True

    async def done(self) -> None:
        """Say that nothing more will be sent."""
        with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
            await self._call.done_writing()

    def cancel(self) -> None:
        """End the call; does nothing to one that is over."""
        self._call.cancel()
        if self._has_failed:
            # gRPC takes such a call for one that is over, and leaves a task that waits until all is read that came.
            inner: Any = getattr(self._call, "_cython_call", None)
            if inner is not None:
                inner.cancel("the call was left")


def ending(call: grpc.aio.Call) -> grpc.aio.AioRpcError:
    """Note what a call has just ended with. Its status is there, so that nothing has to be waited for."""
    return grpc.aio.AioRpcError(
        at_once(call.code()),
        initial_metadata=grpc.aio.Metadata(),
        trailing_metadata=at_once(call.trailing_metadata()),
        details=at_once(call.details()),
    )
