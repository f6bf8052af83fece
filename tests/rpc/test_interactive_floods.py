"""Callers that answer too much or anything at all: held back, and no run is left behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing

from google.protobuf import struct_pb2

from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps.remote import Served
from tests.rpc.calling import catching
from tests.rpc.serving import until, within
from tests.rpc.talking import FACTS, V, number, saying, talking


async def test_a_caller_that_floods_one_call_is_slowed_down_and_memory_is_bounded() -> None:
    go = asyncio.Event()
    held: list[int] = []

    async def script(served: Served) -> AsyncGenerator[Json, None]:
        async with aclosing(served.call("f", 0, FACTS)) as outputs:
            yield await anext(outputs)
            await go.wait()
            async for output in outputs:
                held.append(served.held_bytes)  # type: ignore[attr-defined]
                yield output

    async with talking(script, Limits(call_outputs=4)) as server:
        caller = await server.caller()
        call = await caller.asked()

        accepted = 0

        async def flood() -> None:
            nonlocal accepted
            for index in range(500):
                await caller.output(call.call_id, [index, "x" * 10_000])
                accepted += 1
            await caller.done(call.call_id)

        flooding = asyncio.create_task(flood())
        assert (await caller.receive()).HasField("event")
        before = -1
        while accepted != before:  # until it stands still
            before = accepted
            await asyncio.sleep(0.2)
        assert accepted < 250, accepted  # of 5 MB, and HTTP/2 holds the others back
        go.set()
        values = await caller.values()
        await within(flooding)
    assert [value[0] for value in values if isinstance(value, list)] == list(range(1, 500))
    assert max(held) < 100_000


async def test_a_call_that_nobody_reads_does_not_keep_another_from_its_answer() -> None:
    async def script(served: Served) -> AsyncGenerator[Json, None]:
        async with (
            aclosing(served.call("flood", 0, FACTS)) as floods,
            aclosing(served.call("other", 0, FACTS)) as others,
        ):
            yield await anext(floods)
            yield await anext(others)

    async with talking(script, Limits(call_outputs=4)) as server:
        caller = await server.caller()
        flood = await caller.asked()
        for index in range(100):
            await caller.output(flood.call_id, index)
        other = await caller.asked()
        await caller.output(other.call_id, "here")
        values = await caller.values()
    assert values[-1] == "here"


async def test_messages_in_any_order_never_leave_a_run_or_a_call_behind() -> None:
    chance = random.Random(3)
    requests = [
        V.RunInteractiveRequest(start=V.RunStepRequest()),
        V.RunInteractiveRequest(),
        V.RunInteractiveRequest(reply=V.CallReply(call_id="1", output=number(1))),
        V.RunInteractiveRequest(reply=V.CallReply(call_id="1", done=V.CallDone(outputs=[number(2)]))),
        V.RunInteractiveRequest(reply=V.CallReply(call_id="2", error=V.CallError())),
        V.RunInteractiveRequest(reply=V.CallReply(call_id="2", output=struct_pb2.Value())),
        V.RunInteractiveRequest(reply=V.CallReply(call_id="9")),
    ]
    async with talking(catching(1, 2, 3)) as server:
        with saying(server) as say:
            for _ in range(150):
                first = requests[:1] if chance.random() < 0.9 else []
                rest = requests[2:-1] if chance.random() < 0.7 else requests
                await say("RunInteractive", first + chance.choices(rest, k=chance.randrange(8)))
        await until(lambda: not server.calls.places._live and not server.calls.places._tasks)
        assert not server.calls.places._taken
    assert {code for _, code, _ in server.metrics.calls} == {"OK", "INVALID_ARGUMENT"}
