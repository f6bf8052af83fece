"""Calls of steps that workers serve, and a worker that answers each with its input."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, cast

import grpc
import grpc.aio

from stepwired.events import Json
from stepwired.store.codec.values import json_of_value
from tests.rpc.talking import FACTS, Other, Talking, V


async def called(server: Talking, value: Json, name: str = "f") -> list[Json]:
    """What a run would get of one call of a worker's step."""
    named = await server.workers.find(name, "")
    assert named is not None
    async with aclosing(cast(Any, named.function)(value, FACTS)) as outputs:
        return [output async for output in outputs]


def calling(server: Talking, *values: Json) -> list[asyncio.Task[list[Json]]]:
    return [asyncio.create_task(called(server, value)) for value in values]


async def serve(worker: Other) -> None:
    """Answer each call with its input, and each heartbeat with another, until the server ends the stream."""
    while (message := await worker.receive()) is not grpc.aio.EOF:
        if message.HasField("call"):
            await worker.done(message.call.call_id, json_of_value(message.call.input))
        else:
            await worker.send(heartbeat=V.WorkerHeartbeat())
