"""What tests of sockets share: work that is cancelled, and both ends of TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from tests.fakeprov import behaviours

TLS = Path(__file__).parent / "tls"


async def cancelled(work: Awaitable[Any], when: asyncio.Event) -> None:
    """Cancel it in a task of its own, once `when` is set."""
    task = asyncio.ensure_future(work)
    async with asyncio.timeout(30):
        await when.wait()
    await behaviours.turns()  # let what was sent arrive
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def server(name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / f"{name}.pem")
    return context


def trusting(name: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=TLS / f"{name}.pem")
