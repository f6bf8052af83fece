"""Names of models, and who is asked."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from stepwired.errors import Failure, Reason
from stepwired.events import ChatRequest, EmbedRequest, Finished, Message, UsageSource
from stepwired.providers.base import Address, Endpoint, ModelEntry, Secret, static
from stepwired.providers.caching.memory import InMemory
from stepwired.providers.caching.vectors import Vectors
from stepwired.providers.catalogue.catalogue import Catalogue, Kind
from stepwired.providers.net.http import Http
from tests.fakeprov import Behaviour, Exchange, Provider, behaviours
from tests.providers.retrying import Time

MODELS = [
    ModelEntry("small", "chat", "acme", "acme/small-1", aliases=("gpt-4", "gpt-4o")),
    ModelEntry("large", "chat", "acme", "acme/large-1", is_default=True),
    ModelEntry("vectors", "embed", "acme", "acme/vectors-1", dimensions=3),
]


@pytest.fixture
async def http() -> AsyncGenerator[Http]:
    http = Http()
    yield http
    await http.aclose()


def catalogue(http: Http, base_url: str = "http://127.0.0.1:9/v1", **endpoint: Any) -> Catalogue:
    return Catalogue([Endpoint("acme", static(base_url), **endpoint)], MODELS, http)


async def failure_of(catalogue: Catalogue, name: str, kind: Kind) -> Failure:
    with pytest.raises(Failure) as failed:
        catalogue.resolve(name, kind)
    return failed.value


async def test_names_aliases_and_defaults_lead_to_models(http: Http) -> None:
    models = catalogue(http)
    assert models.resolve("small", "chat").provider_model == "acme/small-1"
    assert models.resolve("gpt-4o", "chat").name == "small"
    assert models.resolve("", "chat").name == "large"
    assert models.resolve("", "embed").name == "vectors"  # the only one
    assert models.info("gpt-4", "chat").name == "small"


async def test_models_are_listed_by_kind_with_one_default_each(http: Http) -> None:
    models = catalogue(http)
    assert [(info.name, info.is_default) for info in models.chat_models()] == [("small", False), ("large", True)]
    assert [(info.name, info.is_default, info.dimensions) for info in models.embed_models()] == [("vectors", True, 3)]


async def test_an_unknown_name_is_answered_with_near_ones(http: Http) -> None:
    failure = await failure_of(catalogue(http), "gpt-4p", "chat")
    assert failure.reason is Reason.MODEL_NOT_FOUND
    assert "gpt-4" in str(failure)
    assert failure.metadata == {"model": "gpt-4p"}
    assert len(str(await failure_of(catalogue(http), "x" * 10_000, "chat"))) < 200


@pytest.mark.parametrize(("name", "kind"), [("small", "embed"), ("vectors", "chat")])
async def test_a_model_of_the_other_kind_is_not_asked(http: Http, name: str, kind: Kind) -> None:
    failure = await failure_of(catalogue(http), name, kind)
    assert failure.reason is Reason.MODEL_FEATURE_UNSUPPORTED
    assert [violation.field for violation in failure.violations] == ["model"]


async def test_without_models_each_name_is_unknown(http: Http) -> None:
    assert (await failure_of(Catalogue([], [], http), "", "chat")).reason is Reason.MODEL_NOT_FOUND


@pytest.mark.parametrize(
    ("endpoints", "models", "named"),
    [
        (["a", "a"], [], "a"),
        ([], MODELS[:1], "acme"),
        (["acme"], [MODELS[0], MODELS[0]], "small"),
        (["acme"], [MODELS[0], ModelEntry("gpt-4", "chat", "acme", "x")], "gpt-4"),
        (["acme"], [MODELS[1], ModelEntry("other", "chat", "acme", "x", is_default=True)], "large and other"),
    ],
)
async def test_what_does_not_fit_together_is_refused_by_name(
    http: Http, endpoints: list[str], models: list[ModelEntry], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        Catalogue([Endpoint(name, static("http://127.0.0.1:9")) for name in endpoints], models, http)


async def test_an_unknown_wire_is_refused(http: Http) -> None:
    with pytest.raises(ValueError, match="telegraph"):
        catalogue(http, wire="telegraph")


async def test_chat_asks_for_the_model_by_the_providers_name(http: Http) -> None:
    async with Provider(behaviours.reply()) as provider:
        models = catalogue(http, provider.base_url)
        async with aclosing(models.chat(ChatRequest("gpt-4", messages=(Message(text="hi"),)))) as batches:
            last = [batch async for batch in batches][-1][-1]
    assert provider.requests[0].path == "/v1/chat/completions"
    assert provider.requests[0].json()["model"] == "acme/small-1"
    assert isinstance(last, Finished)
    assert (last.model, last.provider) == ("fake-1", "acme")


async def test_many_texts_are_asked_for_in_as_many_calls_as_it_takes(http: Http) -> None:
    async with Provider(behaviours.embeddings(3, shuffled=True)) as provider:
        texts = tuple("x" * count for count in range(1, 8))
        made = await catalogue(http, provider.base_url, embed_batch=3).embed(EmbedRequest(texts))
    assert sorted(len(request.json()["input"]) for request in provider.requests) == [1, 3, 3]
    assert [memoryview(row).cast("f")[0] for row in made.rows] == [1, 2, 3, 4, 5, 6, 7]
    assert (made.dimensions, made.usage.source, made.usage.input_tokens) == (3, UsageSource.PROVIDER, 15)


async def test_the_calls_that_many_texts_take_are_under_way_together(http: Http) -> None:
    both, seen = asyncio.Event(), 0

    async def behave(exchange: Exchange) -> None:
        nonlocal seen
        seen += 1
        if seen == 2:
            both.set()
        await both.wait()
        await behaviours.embeddings(3)(exchange)

    async with Provider(behave) as provider, asyncio.timeout(10):
        made = await catalogue(http, provider.base_url, embed_batch=1).embed(EmbedRequest(("a", "bb")))
    assert [memoryview(row).cast("f")[0] for row in made.rows] == [1, 2]


async def test_of_the_calls_that_many_texts_take_only_the_one_that_failed_is_made_again(http: Http) -> None:
    failed: list[str] = []

    async def behave(exchange: Exchange) -> None:
        if exchange.request.json()["input"] == ["bb"] and not failed:
            failed.append("bb")
            await behaviours.status(503)(exchange)
        else:
            await behaviours.embeddings(3)(exchange)

    async with Provider(behave) as provider:
        models = Catalogue(
            [Endpoint("acme", static(provider.base_url), embed_batch=1)], MODELS, http, retry=Time().retry()
        )
        made = await models.embed(EmbedRequest(("a", "bb", "ccc")))
    assert sorted(request.json()["input"][0] for request in provider.requests) == ["a", "bb", "bb", "ccc"]
    assert [memoryview(row).cast("f")[0] for row in made.rows] == [1, 2, 3]


@pytest.mark.parametrize("are_kept", [False, True])
async def test_the_text_that_is_to_blame_is_named_by_its_place_in_the_callers_list(http: Http, are_kept: bool) -> None:
    async def behave(exchange: Exchange) -> None:
        texts = exchange.request.json()["input"]
        if "bad" in texts:
            error = {"code": "context_length_exceeded", "message": "no", "param": f"input[{texts.index('bad')}]"}
            await behaviours.status(400, {}, {"error": error})(exchange)
        else:
            await behaviours.embeddings(3)(exchange)

    async with Provider(behave) as provider:
        vectors = Vectors(InMemory(100_000)) if are_kept else None
        endpoint = Endpoint("acme", static(provider.base_url), embed_batch=2)
        models = Catalogue([endpoint], MODELS, http, vectors=vectors)
        await models.embed(EmbedRequest(("known", "also known")))
        with pytest.raises(Failure) as caught:
            await models.embed(EmbedRequest(("known", "a", "a", "also known", "b", "c", "bad", "bad")))
    assert [violation.field for violation in caught.value.violations] == ["texts[6]"]


async def test_vectors_of_another_length_than_configured_are_refused(http: Http) -> None:
    async with Provider(behaviours.embeddings(4)) as provider:
        models = catalogue(http, provider.base_url)
        with pytest.raises(Failure) as failed:
            await models.embed(EmbedRequest(("a",)))
    assert failed.value.reason is Reason.PROVIDER_PROTOCOL_ERROR


async def test_an_endpoint_without_its_key_is_not_asked(http: Http) -> None:
    async with Provider(behaviours.reply()) as provider:
        models = catalogue(http, provider.base_url, api_key_env="ACME_KEY")
        with pytest.raises(Failure) as failed:
            await anext(models.chat(ChatRequest()))
    assert failed.value.reason is Reason.PROVIDER_NOT_CONFIGURED
    assert "ACME_KEY" in str(failed.value)
    assert not provider.connections


async def test_an_endpoint_may_move_and_change_its_key_between_calls(http: Http) -> None:
    behaviour: Behaviour = behaviours.embeddings(3)
    async with Provider(behaviour) as first, Provider(behaviour) as second:
        addresses = iter([Address(first.base_url, "one"), Address(second.base_url, Secret("two"))])

        async def address() -> Address:
            return next(addresses)

        models = Catalogue([Endpoint("acme", address)], MODELS, http)
        await models.embed(EmbedRequest(("a",)))
        await models.embed(EmbedRequest(("a",)))
    assert first.requests[0].headers["authorization"] == "Bearer one"
    assert second.requests[0].headers["authorization"] == "Bearer two"


def test_a_secret_is_read_on_purpose_only() -> None:
    secret = Secret("sk-very-secret")
    shown = f"{secret} {secret!r} {Address('http://x', secret)} {Address('http://x', 'sk-very-secret')}"
    assert "very" not in shown
    assert b"very" not in pickle.dumps(secret)
    assert secret.reveal() == "sk-very-secret"
