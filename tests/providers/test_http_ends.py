"""What comes, or does not come, behind the end of a reply: it costs a moment at the most."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from stepwired.events import Finished, FinishReason
from stepwired.providers.net import reply as reading
from tests.fakeprov import Exchange, Provider, behaviours
from tests.fakeprov.behaviours import DONE, STREAM, chunk, transcript, usage
from tests.providers.conftest import REQUEST, Wire, ask


async def test_a_body_that_ends_a_moment_after_done_leaves_its_connection_too(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_LINGER_S", 5.0)

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, STREAM)
        await exchange.chunk(transcript(["a"]))
        await behaviours.turns()
        await exchange.end()

    async with Provider(behave) as provider:
        for _ in range(3):
            await ask(wire(provider.base_url))
    assert len(provider.connections) == 1


@pytest.mark.parametrize("more", [b"", chunk("more")])
async def test_a_body_that_does_not_end_after_done_costs_a_moment_and_its_connection(wire: Wire, more: bytes) -> None:
    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, STREAM)
        await exchange.chunk(transcript(["a"]))
        if more:
            await exchange.chunk(more)
        await exchange.gone()

    async with Provider(behave) as provider:
        outcome = await ask(wire(provider.base_url))
        assert isinstance(outcome.events[-1], Finished)
        await provider.closed()


async def test_a_body_that_goes_silent_between_its_reason_and_done_costs_a_moment(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_REST_S", 0.1)
    after = chunk(finish="stop") + usage()
    async with Provider(behaviours.stalled(after=after)) as provider:
        outcome = await asyncio.wait_for(ask(wire(provider.base_url, idle_s=600.0)), 30)
        await provider.closed()
        last = outcome.events[-1]
        assert isinstance(last, Finished)
        assert (outcome.text, last.reason, last.usage.input_tokens) == ("Hello", FinishReason.STOP, 3)


async def test_pings_after_the_reason_do_not_draw_a_reply_out(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, STREAM)
        await exchange.chunk(chunk("Hello") + chunk(finish="stop"))
        while True:
            await exchange.chunk(b": ping\n\n")
            await behaviours.turns()

    monkeypatch.setattr(reading, "_REST_S", 0.1)
    async with Provider(behave) as provider:
        outcome = await asyncio.wait_for(ask(wire(provider.base_url, idle_s=600.0)), 30)
        assert isinstance(outcome.events[-1], Finished)


async def test_the_last_event_does_not_wait_for_the_bodys_end(wire: Wire) -> None:
    async with Provider(behaviours.stalled(after=DONE)) as provider:
        async with aclosing(wire(provider.base_url).chat(REQUEST)) as batches:
            assert isinstance((await anext(batches))[-1], Finished)
        await provider.closed()
