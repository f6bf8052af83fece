"""Connections to providers: used again by the next request, replaced where they are dead, as many as are needed."""

from __future__ import annotations

import asyncio
import random

import pytest

from stepwired.events import EmbedRequest
from stepwired.providers.base import Budget, Endpoint, static
from stepwired.providers.net.http import Http
from stepwired.providers.wires.openai.wire import OpenAI
from tests.fakeprov import Exchange, Provider, behaviours
from tests.fakeprov.behaviours import DONE, STREAM, chunk, transcript
from tests.providers.conftest import Wire, ask


@pytest.mark.parametrize("size", [256 * 1024, 256 * 1024 + 1, 5_000_000])
async def test_a_large_request_arrives_whole_over_a_kept_and_a_dead_connection_too(http: Http, size: int) -> None:
    async def behave(exchange: Exchange) -> None:
        if exchange.number == 2:
            exchange.reset()  # a kept connection, which turns out dead
        else:
            await behaviours.status(200)(exchange)

    body = random.Random(7).randbytes(size)
    async with Provider(behave) as provider:
        for _ in range(3):
            async with http.post("acme", provider.base_url, body, headers={}, budget=Budget()) as reply:
                assert await reply.read_all() == b"{}"
    assert [request.body == body for request in provider.requests] == [True] * 4
    assert {request.headers["content-length"] for request in provider.requests} == {str(size)}
    assert not any("transfer-encoding" in request.headers for request in provider.requests)


async def test_a_finished_reply_leaves_its_connection_for_the_next(wire: Wire) -> None:
    async with Provider(behaviours.reply()) as provider:
        for _ in range(5):
            await ask(wire(provider.base_url))
        provider.behaviour = behaviours.embeddings()
        await wire(provider.base_url).embed(EmbedRequest(("a",), "m"))
        provider.behaviour = behaviours.status(429)
        await ask(wire(provider.base_url))
    assert [connection.requests for connection in provider.connections] == [7]


@pytest.mark.parametrize("with_reset", [False, True])
async def test_a_kept_connection_that_turns_out_dead_is_replaced_unnoticed(wire: Wire, with_reset: bool) -> None:  # F36
    async def close_the_second(exchange: Exchange) -> None:
        if exchange.connection.requests > 1:
            await behaviours.hang_up(with_reset=with_reset)(exchange)
        else:
            await behaviours.reply()(exchange)

    async with Provider(close_the_second) as provider:
        for _ in range(3):
            outcome = await ask(wire(provider.base_url))
            assert (outcome.text, outcome.failure) == ("Hello", None)
    assert [connection.requests for connection in provider.connections] == [2, 2, 1]


async def test_a_kept_connection_that_was_closed_meanwhile_is_not_used(wire: Wire) -> None:
    async def reply_and_close(exchange: Exchange) -> None:
        await behaviours.reply()(exchange)
        exchange.finish()

    async with Provider(reply_and_close) as provider:
        for count in range(1, 4):
            assert (await ask(wire(provider.base_url))).text == "Hello"
            await provider.closed(count)
            await behaviours.turns()
    assert [connection.requests for connection in provider.connections] == [1, 1, 1]


async def test_more_than_a_hundred_replies_stream_side_by_side(wire: Wire) -> None:
    everybody = asyncio.Event()

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, STREAM)
        await exchange.chunk(chunk("Hel"))
        if exchange.number == 299:
            everybody.set()
        await everybody.wait()
        await exchange.chunk(chunk("lo") + DONE)
        await exchange.end()

    async with Provider(behave) as provider:
        openai = wire(provider.base_url)
        outcomes = await asyncio.gather(*(ask(openai) for _ in range(300)))
    assert {outcome.text for outcome in outcomes} == {"Hello"}


async def test_cookies_of_one_caller_do_not_reach_the_next(wire: Wire) -> None:
    async with Provider(behaviours.stream(transcript(["a"]), {"set-cookie": "who=alice; path=/"})) as provider:
        for _ in range(2):
            assert (await ask(wire(provider.base_url))).failure is None
    assert "cookie" not in provider.requests[1].headers


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Provider(behaviours.status(502)) as proxy, Provider(behaviours.reply()) as provider:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.base_url.removesuffix("/v1"))
        http = Http()
        wire = OpenAI(Endpoint("acme", static(provider.base_url)), http)
        assert (await ask(wire)).text == "Hello"
        await http.aclose()
    assert not proxy.connections
