"""Where no connection comes about: hosts, addresses and keys that do not do."""

from __future__ import annotations

import socket

import pytest

from stepwired.errors import Misconfigured, Reason
from stepwired.providers.base import Endpoint, static
from stepwired.providers.net.http import Http
from stepwired.providers.wires.openai.wire import OpenAI
from tests.fakeprov import Provider, behaviours
from tests.providers.conftest import Wire, ask


async def test_a_new_connection_that_breaks_is_not_tried_again(wire: Wire) -> None:
    async with Provider(behaviours.hang_up()) as provider:
        outcome = await ask(wire(provider.base_url))
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.PROVIDER_UNREACHABLE
    assert len(provider.connections) == 1


async def test_a_refused_connection_is_told_as_such(wire: Wire) -> None:  # F11
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        outcome = await ask(wire(f"http://127.0.0.1:{reserved.getsockname()[1]}/v1"))
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.PROVIDER_UNREACHABLE
    assert "refused" in str(outcome.failure)


async def test_a_host_that_takes_no_connection_is_given_up(wire: Wire) -> None:  # F11
    with socket.socket() as full, socket.socket() as one, socket.socket() as two:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (one, two):  # the kernel keeps one more than it is told, and drops what comes then
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        outcome = await ask(wire(f"http://127.0.0.1:{full.getsockname()[1]}/v1", connect_s=0.2))
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.PROVIDER_TIMEOUT
    assert outcome.failure.metadata == {"provider": "acme", "phase": "connect", "timeoutMs": "200"}


async def test_a_host_without_address_is_told_as_such(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:  # F34
    def no_such_host(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    outcome = await ask(wire("http://no-such-host.invalid/v1"))
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.PROVIDER_UNREACHABLE


@pytest.mark.parametrize(
    "base_url", ["ftp://127.0.0.1/v1", "127.0.0.1/v1", "http://", "http://[::1/v1", "http://a\nb/"]
)
async def test_an_address_that_is_none_is_the_operators_to_correct(wire: Wire, base_url: str) -> None:
    outcome = await ask(wire(base_url))
    assert isinstance(outcome.failure, Misconfigured)


@pytest.mark.parametrize("key", ["new\nline", "schlüssel", "\x00"])
async def test_a_key_that_no_header_can_hold_is_the_operators_to_correct(http: Http, key: str) -> None:
    async with Provider(behaviours.reply()) as provider:
        outcome = await ask(OpenAI(Endpoint("acme", static(provider.base_url, key)), http))
    assert isinstance(outcome.failure, Misconfigured)
    assert key not in str(outcome.failure)
