"""What models can do, cost and fall back to, and with whose keys they are asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest

from stepwired.errors import Failure, Reason
from stepwired.events import (
    ChatOptions,
    ChatRequest,
    EmbedRequest,
    Finished,
    Image,
    Message,
    Price,
    ResponseFormat,
    Started,
    Tool,
    Usage,
    UsageSource,
)
from stepwired.providers.base import Endpoint, ModelEntry, static
from stepwired.providers.caching.memory import InMemory, Memory
from stepwired.providers.caching.replies import Replies
from stepwired.providers.caching.vectors import Vectors
from stepwired.providers.catalogue.catalogue import Catalogue
from stepwired.providers.catalogue.endpoints import KINDS
from stepwired.providers.catalogue.known import known
from stepwired.providers.cost import priced
from stepwired.providers.net.http import Http
from stepwired.providers.wires.table import WIRES
from tests.fakeprov import Provider, behaviours
from tests.providers.retrying import Time, read

KEY = "sk-operator-0123456789"
PLAIN = ModelEntry("plain", "chat", "acme", "p", abilities=("json_schema",), max_output_tokens=100, context_length=500)
EVERYTHING = ChatOptions(
    tools=(Tool("f"),), response_format=ResponseFormat(), reasoning_effort="high", top_logprobs=0, max_tokens=1000
)


@pytest.fixture
async def http() -> AsyncGenerator[Http]:
    http = Http()
    yield http
    await http.aclose()


def asking(model: str = "", **fields: Any) -> ChatRequest:
    return ChatRequest(model, messages=(Message(text="hi"),), **fields)


def catalogue(http: Http, *models: ModelEntry, base_url: str = "http://127.0.0.1:9/v1", **parts: Any) -> Catalogue:
    names = dict.fromkeys(model.endpoint for model in models)
    endpoints = [Endpoint(name, static(base_url, KEY)) for name in names]
    return Catalogue(endpoints, models, http, retry=Time().retry(), **parts)


def refused(models: Catalogue, request: ChatRequest) -> Failure:
    with pytest.raises(Failure) as caught:
        models.chat(request)
    return caught.value


async def test_every_option_that_a_model_lacks_is_named(http: Http) -> None:
    failure = refused(catalogue(http, PLAIN), asking(options=EVERYTHING))
    assert failure.reason is Reason.MODEL_FEATURE_UNSUPPORTED
    assert [(one.field, one.reason) for one in failure.violations] == [
        ("options.tools", Reason.MODEL_FEATURE_UNSUPPORTED),
        ("options.reasoning_effort", Reason.MODEL_FEATURE_UNSUPPORTED),
        ("options.top_logprobs", Reason.MODEL_FEATURE_UNSUPPORTED),
    ]
    assert failure.metadata == {"model": "plain", "feature": "tools"}


async def test_of_a_model_that_nobody_knows_only_images_are_refused(http: Http) -> None:
    models = catalogue(http, ModelEntry("plain", "chat", "acme", "p"))
    assert models.check(asking(options=EVERYTHING)).name == "plain"
    pictured = ChatRequest(messages=(Message(images=(Image(data=b"1"),)),))
    assert refused(models, pictured).metadata["feature"] == "images"
    seeing = catalogue(http, ModelEntry("plain", "chat", "acme", "p", abilities=("images",)))
    assert seeing.check(pictured).name == "plain"


@pytest.mark.parametrize(("tokens", "is_refused"), [(100, False), (101, True)])
async def test_more_tokens_than_a_model_writes_are_refused_with_its_limit(
    http: Http, tokens: int, is_refused: bool
) -> None:
    models, request = catalogue(http, PLAIN), asking(options=ChatOptions(max_tokens=tokens))
    if not is_refused:
        models.check(request)
        return
    failure = refused(models, request)
    assert (failure.reason, failure.metadata) == (Reason.MAX_TOKENS_TOO_LARGE, {"limitTokens": "100"})
    assert [one.field for one in failure.violations] == ["options.max_tokens"]


def chain(*pairs: tuple[str, tuple[str, ...]]) -> list[ModelEntry]:
    return [ModelEntry(name, "chat", "acme", name, (f"{name}-alias",), fallbacks=others) for name, others in pairs]


async def test_fallbacks_are_listed_with_their_own(http: Http) -> None:
    models = catalogue(http, *chain(("a", ("b-alias", "d")), ("b", ("c",)), ("c", ("d",)), ("d", ())))
    assert models.info("a", "chat").fallbacks == ("b", "c", "d")
    assert models.info("d", "chat").fallbacks == ()


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (chain(("a", ("a",))), "lead back to a"),
        (chain(("a", ("b",)), ("b", ("a-alias",))), "lead back to a"),
        (chain(("a", ("b",)), ("b", ("c",)), ("c", ("b",))), "lead back to b"),
        (chain(("a", ("nobody",))), "'nobody' is not"),
        ([*chain(("a", ("e",))), ModelEntry("e", "embed", "acme", "e")], "'e' is not"),
        ([ModelEntry("e", "embed", "acme", "e", fallbacks=("f",))], "cannot be compared"),
        (chain(*((f"m{n}", (f"m{n + 1}",)) for n in range(9)), ("m9", ())), "has 9 fallbacks"),
    ],
)
async def test_fallbacks_that_cannot_be_kept_are_refused_at_the_start(
    http: Http, models: list[ModelEntry], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        catalogue(http, *models)


async def test_a_fallback_that_could_not_do_it_is_left_out(http: Http) -> None:
    models = [
        ModelEntry("a", "chat", "acme", "a", fallbacks=("b", "c")),
        ModelEntry("b", "chat", "acme", "b", abilities=()),
        ModelEntry("c", "chat", "acme", "c"),
    ]
    async with Provider(behaviours.status(401)) as provider:
        request = asking(options=ChatOptions(tools=(Tool("f"),)))
        seen = await read(catalogue(http, *models, base_url=provider.base_url).chat(request))
    assert [asked.json()["model"] for asked in provider.requests] == ["a", "c"]
    assert seen.failure is not None


@pytest.mark.parametrize(
    ("usage", "price", "cost"),
    [
        (Usage(UsageSource.PROVIDER, 1000, 100), Price(2.0, 8.0, 0.5), 0.0028),
        (Usage(UsageSource.PROVIDER, 1000, 100, cached_input_tokens=400), Price(2.0, 8.0, 0.5), 0.0022),
        (Usage(UsageSource.PROVIDER, 1000, 100, cached_input_tokens=400), Price(2.0, 8.0), 0.0028),
        (Usage(UsageSource.PROVIDER, 1000, 100, cached_input_tokens=4000), Price(2.0, 8.0, 0.5), 0.0013),
        (Usage(UsageSource.ESTIMATED, 1000, 0), Price(2.0), 0.002),
        (Usage(UsageSource.PROVIDER, 1000), Price(0.02), 0.00002),
        (Usage(UsageSource.PROVIDER, 1000, 100), Price(2.0), None),
        (Usage(UsageSource.PROVIDER, None, 100), Price(2.0, 8.0), None),
        (Usage(), Price(2.0, 8.0), None),
        (Usage(UsageSource.PROVIDER, 1000, 100), None, None),
        (Usage(UsageSource.PROVIDER, 1000, 100, cost_usd=7.0), Price(2.0, 8.0), 7.0),
    ],
)
def test_a_cost_is_said_where_all_of_it_is_known(usage: Usage, price: Price | None, cost: float | None) -> None:
    assert priced(usage, price).cost_usd == (None if cost is None else pytest.approx(cost))


def test_what_is_known_of_a_model_holds_at_its_vendor_alone() -> None:
    found = known("openai", "gpt-4o-2024-11-20")
    assert found is not None
    assert found == known("openai", "gpt-4o")
    assert found.price == Price(2.5, 10.0, 1.25)
    assert known("openai", "gpt-4o-mini") != found
    assert [known("openai", name) for name in ("gpt-4o-audio", "gpt-99", "", "4")] == [None] * 4
    assert known("azure-openai", "gpt-4o") is None


@pytest.mark.parametrize(
    ("kind", "name", "model"),
    [
        ("openai", "gpt-4o-2024-08-06", "gpt-4o"),
        ("openai", "gpt-3.5-turbo-0125", "gpt-3.5-turbo"),
        ("anthropic", "claude-sonnet-4-20250514", "claude-sonnet-4"),
        ("anthropic", "claude-opus-4-1-20250805", "claude-opus-4-1"),
        ("anthropic", "claude-sonnet-4-5", None),
        ("anthropic", "claude-sonnet-4-6", None),
        ("anthropic", "claude-sonnet-4-5-20250929", None),
        ("anthropic", "claude-sonnet-4-20251399", None),
        ("anthropic", "claude-sonnet-4-latest", None),
        ("openai", "gpt-5-1", None),
        ("openai", "o3-2", None),
        ("openai", "gpt-5-1340", None),
        ("openai", "gpt-4o-2024-08-06-2", None),
        ("gemini", "gemini-2.5-pro-002", None),
    ],
)
def test_a_name_with_a_date_behind_it_is_the_model_and_with_any_other_number_it_is_another(
    kind: str, name: str, model: str | None
) -> None:
    assert known(kind, name) == (None if model is None else known(kind, model))
    assert model is None or known(kind, name) is not None


def test_every_kind_speaks_a_wire_that_there_is() -> None:
    assert {name: kind.wire for name, kind in KINDS.items() if kind.wire not in WIRES} == {}


# The keys of callers.


def with_callers_keys(http: Http, base_url: str, **parts: Any) -> Catalogue:
    endpoints = [
        Endpoint("theirs", static(base_url, KEY), keys="caller"),
        Endpoint("ours", static(base_url, KEY)),
    ]
    models = [
        ModelEntry("m", "chat", "theirs", "m"),
        ModelEntry("o", "chat", "ours", "o", fallbacks=("m",)),
        ModelEntry("v", "embed", "theirs", "v", dimensions=3),
    ]
    return Catalogue(endpoints, models, http, retry=Time().retry(), **parts)


async def test_the_callers_key_is_sent_and_the_operators_never_beside_it(http: Http) -> None:
    async with Provider(behaviours.reply()) as provider:
        models = with_callers_keys(http, provider.base_url)
        assert (await read(models.chat(asking("m", caller_key="sk-caller-1")))).text == "Hello"
    assert provider.requests[0].headers["authorization"] == "Bearer sk-caller-1"
    assert KEY.encode() not in provider.requests[0].head + provider.requests[0].body


async def test_without_a_key_nobody_is_asked_and_the_caller_is_told(http: Http) -> None:
    async with Provider(behaviours.reply()) as provider:
        models = with_callers_keys(http, provider.base_url)
        seen = await read(models.chat(asking("m")))
        with pytest.raises(Failure) as caught:
            await models.embed(EmbedRequest(("a",), "v"))
    assert seen.failure is not None
    for failure in (seen.failure, caught.value):
        assert failure.reason is Reason.PROVIDER_CALLER_KEY_INVALID
        assert "invalid api key" in str(failure)
    assert not provider.connections


async def test_a_callers_key_that_is_refused_is_the_callers_to_mend_and_not_repeated(http: Http) -> None:
    body = {"error": {"code": "invalid_api_key", "message": "Incorrect API key provided: sk-caller-1"}}
    async with Provider(behaviours.status(401, body=body)) as provider:
        seen = await read(with_callers_keys(http, provider.base_url).chat(asking("m", caller_key="sk-caller-1")))
    assert seen.failure is not None
    assert seen.failure.reason is Reason.PROVIDER_CALLER_KEY_INVALID
    assert "invalid api key" in str(seen.failure)
    assert "caller-1" not in f"{seen.failure} {seen.failure.metadata}"


async def test_a_callers_key_goes_to_no_endpoint_that_has_its_own(http: Http) -> None:
    async with Provider(behaviours.reply()) as provider:
        await read(with_callers_keys(http, provider.base_url).chat(asking("o", caller_key="sk-caller-1")))
    assert provider.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert b"sk-caller-1" not in provider.requests[0].head + provider.requests[0].body


@pytest.mark.parametrize(("key", "asked"), [("sk-caller-1", ["o", "m"]), ("", ["o"])])
async def test_a_fallback_that_needs_a_callers_key_is_asked_with_one_only(
    http: Http, key: str, asked: list[str]
) -> None:
    async with Provider(behaviours.status(401)) as provider:
        await read(with_callers_keys(http, provider.base_url).chat(asking("o", caller_key=key)))
    assert [request.json()["model"] for request in provider.requests] == asked
    keys = [request.headers["authorization"] for request in provider.requests]
    assert keys == [f"Bearer {KEY}", "Bearer sk-caller-1"][: len(asked)]


async def test_what_is_kept_is_shared_by_nobody_with_another_key(http: Http) -> None:
    async with Provider(behaviours.reply()) as provider:
        models = with_callers_keys(http, provider.base_url, replies=Replies(Memory(100_000)))
        request = asking("m", options=ChatOptions(cache=True))
        seen = [await read(models.chat(replace(request, caller_key=key))) for key in ("one", "two", "one")]
    assert len(provider.requests) == 2
    assert [isinstance(one.events[0], Started) and one.events[0].is_cached for one in seen] == [False, False, True]
    async with Provider(behaviours.embeddings(3)) as provider:
        models = with_callers_keys(http, provider.base_url, vectors=Vectors(InMemory(100_000)))
        hits = [(await models.embed(EmbedRequest(("a",), "v", key))).cache_hits for key in ("one", "two", "one")]
    assert hits == [0, 0, 1]
    assert len(provider.requests) == 2


def test_a_callers_key_is_not_shown() -> None:
    assert "sk-caller" not in f"{asking(caller_key='sk-caller-1')} {EmbedRequest(('a',), 'v', 'sk-caller-1')!r}"


# What is kept.


async def test_replies_are_kept_only_for_those_who_allow_it(http: Http) -> None:
    async with Provider(behaviours.reply()) as provider:
        model = ModelEntry("m", "chat", "acme", "m", price=Price(1.0, 1.0))
        models = catalogue(http, model, base_url=provider.base_url, replies=Replies(Memory(100_000)))
        for _ in range(2):
            await read(models.chat(asking()))
        assert len(provider.requests) == 2
        seen = [await read(models.chat(asking(options=ChatOptions(cache=True)))) for _ in range(2)]
    assert len(provider.requests) == 3
    costs = [last.usage.cost_usd for one in seen if isinstance(last := one.events[-1], Finished)]
    assert costs == [pytest.approx(5e-6), 0.0]
