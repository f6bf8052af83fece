"""What a stock client is told of each thing that a provider does, on every wire: the table of the error contract."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from typing import Any

import grpc
import pytest

from stepwire.v1 import chat_pb2
from stepwired.providers.base import Budget, Endpoint, ModelEntry, static
from stepwired.providers.catalogue.catalogue import Catalogue
from stepwired.providers.net.http import Http
from tests.fakeprov import Behaviour, Provider, behaviours
from tests.providers.connections import server
from tests.providers.misbehaving import talks
from tests.providers.retrying import Time
from tests.rpc.provider_errors import TABLE, Row
from tests.rpc.serving import SOON_S, Told, serve, told

TALKS = talks()
EACH = [(wire, row) for row in TABLE for wire in row.wires]
KEY = "sk-operator-0123456789"
REQUEST = chat_pb2.StreamChatRequest(prompt="hi")


@pytest.fixture
async def http() -> AsyncGenerator[Http]:
    http = Http()
    yield http
    await http.aclose()


async def failure(
    http: Http, wire: str, base_url: str, metadata: tuple[tuple[str, str], ...] = (), **endpoint: Any
) -> Told:
    """What a call is told that a provider at this address is to answer."""
    budget = Budget(**{name: endpoint.pop(name) for name in list(endpoint) if name.endswith("_s")})
    has_key = not endpoint
    entry = Endpoint("acme", static(base_url, KEY if has_key else ""), wire=wire, budget=budget, **endpoint)
    models = Catalogue([entry], [ModelEntry("m", "chat", "acme", "gpt-x")], http, retry=Time().retry())
    async with serve(models.chat) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in client.chat.StreamChat(REQUEST, metadata=metadata, timeout=SOON_S):
                pass
    return told(caught.value)


def check_retry(said: Told, *, may_help: bool) -> None:
    """A retry is told of in both ways, or in neither."""
    assert (said.retry_after_s is not None) == may_help
    if said.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}:
        wait = round(said.retry_after_s * 1000) if said.retry_after_s is not None else -1
        assert said.trailers["grpc-retry-pushback-ms"] == str(wait)
    else:
        assert "grpc-retry-pushback-ms" not in said.trailers


@pytest.mark.parametrize(("wire", "row"), EACH, ids=[f"{row.name} {wire}" for wire, row in EACH])
async def test_a_symptom_is_told_as_the_contract_has_it(wire: str, row: Row, http: Http) -> None:
    async with Provider(row.behave(TALKS[wire])) as provider:
        said = await failure(http, wire, provider.base_url, row.metadata, **row.endpoint)
    assert (said.code, said.reason) == (row.code, row.reason)
    check_retry(said, may_help=row.retry_after_s is not None)
    if row.retry_after_s is not None and row.retry_after_s > 0:
        assert said.retry_after_s == row.retry_after_s
    assert set(said.kinds) == {"ErrorInfo", "RequestInfo", *row.details} | (
        {"RetryInfo"} if row.retry_after_s is not None else set()
    )
    assert len(said.kinds) == len(set(said.kinds))
    assert row.says in said.message
    assert row.facts.items() <= said.facts.items()
    assert said.facts["provider"] == "acme"
    assert [field for field, _ in said.fields] == list(row.fields)
    assert said.request_id == said.trailers["x-request-id"] != ""
    assert KEY not in repr(said)
    assert "sk-of-the-caller" not in repr(said)


async def test_who_cannot_be_reached_is_told_as_such(http: Http) -> None:
    async with Provider(behaviours.reply()) as provider:
        pass
    said = await failure(http, "openai", provider.base_url)
    assert (said.code, said.reason) == (grpc.StatusCode.UNAVAILABLE, "PROVIDER_UNREACHABLE")
    check_retry(said, may_help=True)


async def test_a_certificate_that_does_not_hold_is_the_operators_to_mend() -> None:
    http = Http(ssl.create_default_context())
    async with Provider(behaviours.reply(), tls=server("expired")) as provider:
        said = await failure(http, "openai", provider.base_url)
    await http.aclose()
    assert (said.code, said.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PROVIDER_TLS_INVALID")
    assert "PreconditionFailure" in said.kinds
    check_retry(said, may_help=False)


@pytest.mark.parametrize(
    ("said", "reason"),
    [("content_filter", chat_pb2.FINISH_REASON_CONTENT_FILTER), ("length", chat_pb2.FINISH_REASON_LENGTH)],
)
async def test_a_filter_or_a_limit_amid_a_reply_is_no_error(said: str, reason: int, http: Http) -> None:
    body: Behaviour = behaviours.stream(behaviours.chunk("Hel") + behaviours.chunk(finish=said) + behaviours.DONE)
    async with Provider(body) as provider:
        endpoint = Endpoint("acme", static(provider.base_url))
        models = Catalogue([endpoint], [ModelEntry("m", "chat", "acme", "gpt-x")], http)
        async with serve(models.chat) as client:
            events = [event async for event in client.chat.StreamChat(REQUEST, timeout=SOON_S)]
    assert events[-1].finished.reason == reason
