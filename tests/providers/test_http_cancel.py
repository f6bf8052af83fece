"""Sockets are closed as soon as their reader leaves, in whatever state, and none is lost."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest

from stepwired.events import EmbedRequest
from stepwired.providers.base import Budget
from stepwired.providers.net.http import Http
from stepwired.providers.wires.openai.wire import OpenAI
from tests.fakeprov import Behaviour, Exchange, Provider, behaviours
from tests.fakeprov.behaviours import chunk, transcript
from tests.providers.conftest import REQUEST, Wire, ask
from tests.providers.connections import cancelled


async def read_one_batch_and(wire: OpenAI, then: Callable[[AsyncGenerator[Any, None]], Awaitable[None]]) -> None:
    async with aclosing(wire.chat(REQUEST)) as batches:
        await anext(batches)
        await then(batches)


STATES: dict[str, Behaviour] = {
    "before the head": behaviours.silent(),
    "within the head": behaviours.silent(b"HTTP/1.1 200 OK\r\ncontent-"),
    "after the head": behaviours.silent(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
    "in the middle, while it is silent": behaviours.stalled(),
    "in the middle, while it sends": behaviours.endless(chunk("a"), 0.001),
    "in the middle, flooded": behaviours.flood(10_000_000),
    "within an error's body": behaviours.silent(b"HTTP/1.1 500 No\r\ncontent-length: 999\r\n\r\n{"),
}


@pytest.mark.parametrize("state", STATES)
async def test_a_cancelled_chat_closes_its_socket_at_once(wire: Wire, state: str) -> None:
    async with Provider(STATES[state]) as provider:
        await cancelled(ask(wire(provider.base_url)), provider.asked)
        await provider.closed()


@pytest.mark.parametrize("state", ["before the head", "after the head", "within an error's body"])
async def test_a_cancelled_embedding_closes_its_socket_at_once(wire: Wire, state: str) -> None:
    async with Provider(STATES[state]) as provider:
        await cancelled(wire(provider.base_url).embed(EmbedRequest(("a",), "m")), provider.asked)
        await provider.closed()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to see what is open")
async def test_a_peer_that_reads_nothing_does_not_keep_a_socket_open(http: Http) -> None:
    accepted = asyncio.Event()

    async def take(exchange: Exchange) -> None:
        exchange.stop_reading()
        accepted.set()
        await asyncio.Event().wait()

    body = b"x" * (16 * 1024 * 1024)
    async with Provider(take, is_reading=False) as provider:

        async def post() -> None:
            async with http.post("acme", provider.base_url, body, headers={}, budget=Budget()):
                raise AssertionError("there is no answer")

        before = sockets()
        await cancelled(post(), accepted)
        await behaviours.turns()
        assert sockets() == before + 1  # the provider's end of it: the peer cannot tell, as it does not read


def sockets() -> int:
    """How many this process has open."""
    links = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return sum(str(link).startswith("socket:") for link in links)


async def test_leaving_a_reply_early_closes_its_socket_at_once(wire: Wire) -> None:
    async with Provider(behaviours.stalled()) as provider:

        async def leave(_: object) -> None:
            return

        await read_one_batch_and(wire(provider.base_url), leave)
        await provider.closed()


async def test_a_cancel_at_every_offset_of_a_reply_leaves_nothing_and_the_next_is_whole(wire: Wire) -> None:
    body = transcript(["Hel"])
    for at in range(0, len(body), 7):
        async with Provider(behaviours.paused(body, at, asyncio.Event())) as provider:
            task = asyncio.create_task(ask(wire(provider.base_url)))
            await provider.asked.wait()
            for _ in range(5):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await provider.closed()
            provider.behaviour = behaviours.reply()
            assert (await ask(wire(provider.base_url))).text == "Hello"


async def test_thousands_of_cancels_leave_every_later_request_answered_and_no_socket_open(wire: Wire) -> None:
    async def mixed(exchange: Exchange) -> None:
        kind = exchange.number % 4
        if kind == 0:
            await behaviours.silent()(exchange)
        elif kind == 1:
            await behaviours.stalled()(exchange)
        elif kind == 2:
            await behaviours.endless(chunk("a"), 0.001)(exchange)
        else:
            await behaviours.reply()(exchange)

    dice = random.Random(7)
    async with Provider(mixed) as provider:
        openai = wire(provider.base_url)
        cancels = 0

        async def churn() -> None:
            nonlocal cancels
            while cancels < 5000:
                task = asyncio.create_task(ask(openai))
                await behaviours.turns(dice.randrange(100))  # from before it connects to the middle of a reply
                if task.cancel():
                    cancels += 1
                with suppress(asyncio.CancelledError):
                    await task

        await asyncio.gather(*(churn() for _ in range(20)))
        provider.behaviour = behaviours.reply()
        good = [await ask(openai) for _ in range(100)]
        good += await asyncio.gather(*(ask(openai) for _ in range(200)))
        assert [outcome.text for outcome in good] == ["Hello"] * 300
        assert provider.live <= 200  # as many as were needed at once at the end
