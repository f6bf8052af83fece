"""Keeps requests that take long to read, and values that take long to write, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from google.protobuf.message import Message

from stepwired.events import Message as ChatMessage
from stepwired.limits import KIB

P = ParamSpec("P")
G = TypeVar("G", bound=Message)
T = TypeVar("T")
V = TypeVar("V")

#: Below it even the costliest request, 32,000 empty values of JSON, is read in about 30 ms.
_LARGE_BYTES = 64 * KIB

#: Values of JSON that are written in about 10 ms.
_FEW_VALUES = 10_000


async def read(convert: Callable[Concatenate[G, P], T], given: G, *args: P.args, **kwargs: P.kwargs) -> T:
    """Convert `given`: at once if it is small, else in a thread.

    Raises:
        Exception: Whatever `convert` raises.
    """
    if given.ByteSize() <= _LARGE_BYTES:
        return convert(given, *args, **kwargs)
    return await asyncio.to_thread(convert, given, *args, **kwargs)


async def write(convert: Callable[[V], T], value: V, shown: object) -> T:
    """Convert `value`: at once if what it shows is of few parts, else in a thread.

    Args:
        convert: Makes a message of it.
        value: Anything.
        shown: What of it is JSON or a message, if anything.
    """
    return convert(value) if _has_few_values(shown) else await asyncio.to_thread(convert, value)


def _has_few_values(value: object) -> bool:
    """Whether JSON, messages, or a list of them is soon written. Looks no further than that takes."""
    count = 0
    waiting: list[object] = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, ChatMessage):
            waiting += (each.metadata, each.tool_use.input if each.tool_use else None)
        elif isinstance(each, list | tuple | dict):
            count += len(each)
            if count > _FEW_VALUES:
                return False
            waiting += each.values() if isinstance(each, dict) else each
    return True
