"""Runs that call functions of their caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from stepwired.errors import Failure
from stepwired.events import Json
from stepwired.steps.ahead import Ahead
from stepwired.steps.remote import Served
from tests.rpc.talking import FACTS, Script


def calling(*inputs: Json, function: str = "f") -> Script:
    """A run that calls a function with one input after the other, and gives what comes."""

    async def script(served: Served) -> AsyncGenerator[Json, None]:
        for value in inputs:
            async with aclosing(served.call(function, value, FACTS)) as outputs:
                async for output in outputs:
                    yield output

    return script


def at_once(count: int) -> Script:
    """A run that calls a function with many numbers at once, and gives what comes in their order."""

    async def script(served: Served) -> AsyncGenerator[Json, None]:
        streams = [Ahead[Json](served.call("f", index, FACTS), 1) for index in range(count)]
        try:
            for stream in streams:
                async for output in stream:
                    yield output
        finally:
            await asyncio.gather(*(stream.aclose() for stream in streams))

    return script


def catching(*inputs: Json) -> Script:
    """As `calling`, with a failure of a call in its place."""

    async def script(served: Served) -> AsyncGenerator[Any, None]:
        for value in inputs:
            try:
                async with aclosing(calling(value)(served)) as outputs:
                    async for output in outputs:
                        yield output
            except Failure as failure:
                yield failure

    return script


def failures(messages: list[Any]) -> list[Any]:
    return [message.event.failure for message in messages if message.event.HasField("failure")]
