"""Calls end when they are left, keep their time, and say so in Python's own words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from stepwire import AsyncClient, errors
from tests.sdk.scripted import Server, for_ever, started

HANG_S = 5.0


class Watched:
    """A behaviour that waits for ever, and tells when it was begun and when it was ended."""

    def __init__(self) -> None:
        self.begun, self.ended = asyncio.Event(), asyncio.Event()

    async def unary(self, request: Any, context: Any) -> Any:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    async def stream(self, request: Any, context: Any) -> AsyncGenerator[Any, None]:
        self.begun.set()
        try:
            async for event in for_ever(request, context):
                yield event
        finally:
            self.ended.set()

    async def silent(self, request: Any, context: Any) -> AsyncGenerator[Any, None]:
        await self.unary(request, context)
        yield started()


async def test_leaving_a_stream_early_ends_the_call(client: AsyncClient, server: Server) -> None:
    watched = Watched()
    server.on["StreamChat"] = watched.stream
    async with aclosing(client.stream_chat("hi")) as events:
        async for _ in events:
            break
    await asyncio.wait_for(watched.ended.wait(), HANG_S)


async def test_dropping_a_stream_ends_the_call_too(client: AsyncClient, server: Server) -> None:
    watched = Watched()
    server.on["StreamChat"] = watched.stream
    async for _ in client.stream_chat("hi"):
        break
    await asyncio.wait_for(watched.ended.wait(), HANG_S)


@pytest.mark.parametrize("behaviour", ["unary", "silent"])
async def test_cancelling_a_waiting_task_ends_the_call(client: AsyncClient, server: Server, behaviour: str) -> None:
    watched = Watched()
    server.on["Chat"], server.on["StreamChat"] = watched.unary, watched.silent
    call = client.chat("hi") if behaviour == "unary" else anext(client.stream_chat("hi"))
    task = asyncio.ensure_future(call)
    await asyncio.wait_for(watched.begun.wait(), HANG_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(watched.ended.wait(), HANG_S)


async def test_a_timeout_of_asyncio_is_a_timeout(client: AsyncClient, server: Server) -> None:
    watched = Watched()
    server.on["Chat"] = watched.unary
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await client.chat("hi")
    await asyncio.wait_for(watched.ended.wait(), HANG_S)


async def test_a_deadline_is_an_error_of_ours(client: AsyncClient, server: Server) -> None:
    watched = Watched()
    server.on["Chat"], server.on["StreamChat"] = watched.unary, watched.stream
    with pytest.raises(errors.DeadlineExceeded, match="in time"):
        await client.chat("hi", timeout_s=0.5)
    await asyncio.wait_for(watched.ended.wait(), HANG_S)
    with pytest.raises(errors.DeadlineExceeded):
        async for _ in client.stream_chat("hi", timeout_s=0.5):
            pass


async def test_quick_calls_and_long_calls_have_their_own_deadlines(client: AsyncClient, server: Server) -> None:
    left: dict[str, float | None] = {}
    for name in ("ListSteps", "Chat", "Embed", "RunStep", "StreamChat"):
        behaviour = server.on[name]

        def noting(name: str, behaviour: Any) -> Any:
            def call(request: Any, context: Any) -> Any:
                left[name] = context.time_remaining()
                return behaviour(request, context)

            return call

        server.on[name] = noting(name, behaviour)
    await client.list_steps()
    await client.chat("hi")
    await client.embed(["a"])
    await client.collect("upper", "a")
    async for _ in client.stream_chat("hi"):
        pass
    assert 50 < (left["ListSteps"] or 0) < 61
    assert all(590 < (left[name] or 0) < 601 for name in ("Chat", "Embed", "RunStep"))
    assert left["StreamChat"] is None


async def test_a_silent_stream_ends_after_the_idle_limit(server: Server) -> None:
    watched = Watched()
    server.on["StreamChat"] = watched.stream
    async with AsyncClient(server.target, idle_s=0.5) as client:
        with pytest.raises(errors.DeadlineExceeded, match=r"nothing for 0\.5 s"):
            async for _ in client.stream_chat("hi"):
                pass
        await asyncio.wait_for(watched.ended.wait(), HANG_S)


async def test_the_idle_limit_is_no_limit_to_a_slow_reader(server: Server) -> None:
    async with AsyncClient(server.target, idle_s=1.0) as client, aclosing(client.stream_chat("hi")) as events:
        await anext(events)
        await asyncio.sleep(1.2)  # longer than the limit, between two reads
        assert "".join([event.text async for event in events]) == "you said hi"


async def test_closing_the_client_ends_calls_with_an_error_and_not_with_a_cancelled_task(server: Server) -> None:
    watched = Watched()
    server.on["Chat"] = watched.unary
    client = AsyncClient(server.target)
    task = asyncio.create_task(client.chat("hi"))
    await asyncio.wait_for(watched.begun.wait(), HANG_S)
    await client.close()
    await client.close()
    with pytest.raises(errors.Cancelled, match="closed"):
        await task


async def test_a_closed_client_says_so(server: Server) -> None:
    client = AsyncClient(server.target)
    await client.chat("hi")
    await client.close()
    with pytest.raises(RuntimeError, match="closed"):
        await client.chat("hi")
    with pytest.raises(RuntimeError, match="closed"):
        await client.models()
