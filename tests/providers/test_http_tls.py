"""TLS to providers: certificates are checked, and streams are what they are without it."""

from __future__ import annotations

import asyncio

import pytest

from stepwired.errors import Reason
from stepwired.providers.base import Endpoint, static
from stepwired.providers.net.http import Http
from stepwired.providers.wires.openai.wire import OpenAI
from tests.fakeprov import Provider, behaviours
from tests.providers.conftest import ask
from tests.providers.connections import cancelled, server, trusting


@pytest.mark.parametrize(
    ("name", "trusted"), [("expired", "expired"), ("elsewhere", "elsewhere"), ("valid", "expired")]
)
async def test_a_certificate_that_does_not_hold_is_refused(name: str, trusted: str) -> None:  # F33
    http = Http(trusting(trusted))
    async with Provider(behaviours.reply(), tls=server(name)) as provider:
        outcome = await ask(OpenAI(Endpoint("acme", static(provider.base_url)), http))
        await http.aclose()
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.PROVIDER_TLS_INVALID
    assert not provider.requests


async def test_a_server_without_tls_is_no_server_with_tls() -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 This is HTTP\r\n\r\n")
        writer.close()

    http = Http(trusting("valid"))
    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as plain:
        url = f"https://127.0.0.1:{plain.sockets[0].getsockname()[1]}/v1"
        outcome = await ask(OpenAI(Endpoint("acme", static(url)), http))
        await http.aclose()
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.PROVIDER_TLS_INVALID


async def test_tls_streams_keeps_its_connection_and_closes_at_once_too() -> None:
    http = Http(trusting("valid"))
    async with Provider(behaviours.reply(), tls=server("valid")) as provider:
        wire = OpenAI(Endpoint("acme", static(provider.base_url)), http)
        for _ in range(2):
            assert (await ask(wire)).text == "Hello"
        assert len(provider.connections) == 1
        provider.behaviour = behaviours.stalled()
        provider.asked.clear()
        await cancelled(ask(wire), provider.asked)
        await provider.closed()
        await http.aclose()
