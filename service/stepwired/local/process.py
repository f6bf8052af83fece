"""One child process of a local model: started, and ready at an address."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from stepwired.processes import child
from stepwired.processes.child import StartFailed


@dataclass(frozen=True, slots=True)
class Address:
    """Where to send requests, and the key that they need."""

    base_url: str
    """Such as `http://127.0.0.1:40123/v1`."""

    api_key: str = field(repr=False)


class StartTimedOut(Exception):
    """The process was not ready in time, and was ended."""


class Child(child.Child):
    """A running child. Made by `start`, always given back to `end`."""

    address = Address("", "")

    @classmethod
    async def start(cls, arguments: Sequence[str], name: str, timeout_s: float) -> Child:
        """Start `python -m stepwired.local` with these arguments and wait until it serves.

        Raises:
            StartFailed: It ended instead, or does not say where it serves.
            StartTimedOut: It was not ready in time.
        """
        started = await cls.spawn("stepwired.local", arguments, name)
        api_key = secrets.token_urlsafe(32)
        ready = False
        try:
            async with asyncio.timeout(timeout_s):
                port = _port(await started.handshake(api_key))
            started.address = Address(f"http://127.0.0.1:{port}/v1", api_key)
            ready = True
            return started
        except TimeoutError as cause:
            raise StartTimedOut from cause
        finally:
            if not ready:
                await started.end(grace_s=0.0)


def _port(line: bytes) -> int:
    """The port of an announcement.

    Raises:
        StartFailed: It is none: something else has written to the child's stdout, or is no child of ours.
    """
    try:
        port = json.loads(line)["port"]
    except (ValueError, LookupError, TypeError, RecursionError):
        port = None
    if type(port) is not int or not 0 < port < 65536:
        raise StartFailed("the first line on its stdout is no address of ours")
    return port
