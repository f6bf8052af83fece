"""Requests that a model cannot be asked: refused before anything is stored or sent, and what fallbacks make of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from stepwired.errors import Failure, InvalidRequest, Reason
from stepwired.events import ChatRequest, Image, Message, ResponseFormat
from stepwired.providers.base import Endpoint, ModelEntry, static
from stepwired.providers.catalogue.catalogue import Catalogue
from stepwired.providers.net.http import Http
from tests.fakeprov import Exchange, Provider, behaviours
from tests.providers.retrying import Model, Time, ask, busy, failing, good, read
from tests.providers.wires import request_of

QUOTA = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}


@pytest.fixture
async def http() -> AsyncGenerator[Http]:
    http = Http()
    yield http
    await http.aclose()


def catalogue(http: Http, *models: ModelEntry, base_url: str = "http://127.0.0.1:9") -> Catalogue:
    """Models at endpoints that are called as their wires."""
    endpoints = [Endpoint(wire, static(base_url), wire=wire) for wire in ("openai", "anthropic", "gemini", "ollama")]
    return Catalogue(endpoints, models, http, retry=Time().retry())


CANNOT = {
    "an effort, anthropic": ("anthropic", "claude-3-5-haiku", {"reasoning_effort": "high"}, "reasoning_effort"),
    "an effort, gemini": ("gemini", "gemini-2.0-flash", {"reasoning_effort": "high"}, "reasoning_effort"),
    "a format while it thinks": (
        "anthropic",
        "claude-opus-4-1",
        {"reasoning_effort": "low", "response_format": ResponseFormat()},
        "response_format",
    ),
    "too few tokens to think": (
        "anthropic",
        "claude-opus-4-1",
        {"reasoning_effort": "low", "max_tokens": 1000},
        "reasoning_effort",
    ),
    "an address": (
        "ollama",
        "llava",
        {"messages": (Message(images=(Image(uri="https://example.com/a.png"),)),)},
        "images",
    ),
}


@pytest.mark.parametrize("what", CANNOT)
async def test_what_no_body_could_say_is_refused_before_a_message_is_stored(what: str, http: Http) -> None:
    wire, name, fields, feature = CANNOT[what]
    models = catalogue(http, ModelEntry("m", "chat", wire, name, images=True))
    stored: list[ChatRequest] = []

    async def store(request: ChatRequest) -> AsyncGenerator[list[object], None]:
        stored.append(request)
        yield []

    with pytest.raises(Failure) as failed:
        models.checked(store)(request_of("m", **fields))  # type: ignore[arg-type]
    assert failed.value.reason is Reason.MODEL_FEATURE_UNSUPPORTED
    assert failed.value.metadata == {"model": "m", "feature": feature}
    assert stored == []


async def test_the_most_that_a_model_writes_counts_as_what_was_allowed(http: Http) -> None:
    short = ModelEntry("m", "chat", "anthropic", "claude-opus-4-1", max_output_tokens=1000)
    with pytest.raises(InvalidRequest, match="leave 750"):
        catalogue(http, short).check(request_of("m", reasoning_effort="low"))


async def test_a_fallback_whose_wire_could_not_say_it_is_left_out_and_hides_nothing(http: Http) -> None:
    models = [
        ModelEntry("big", "chat", "openai", "gpt-5", fallbacks=("claude",)),
        ModelEntry("claude", "chat", "anthropic", "claude-3-5-haiku"),
    ]
    async with Provider(behaviours.status(429, body=QUOTA)) as provider:
        seen = await read(
            catalogue(http, *models, base_url=provider.base_url).chat(request_of("big", reasoning_effort="high"))
        )
    assert seen.failure is not None
    assert seen.failure.reason is Reason.PROVIDER_QUOTA_EXHAUSTED
    assert len(provider.requests) == 1


async def test_a_fallback_that_cannot_read_as_much_is_not_asked_and_the_next_one_is(http: Http) -> None:
    models = [
        ModelEntry("big", "chat", "openai", "gpt-5", fallbacks=("small", "other")),
        ModelEntry("small", "chat", "openai", "gpt-4o", context_length=1000),
        ModelEntry("other", "chat", "openai", "other"),
    ]

    async def behave(exchange: Exchange) -> None:
        is_other = exchange.request.json()["model"] == "other"
        await (behaviours.reply() if is_other else behaviours.status(429, body=QUOTA))(exchange)

    async with Provider(behave) as provider:
        long = request_of("big", messages=(Message(text="hello " * 2000),))
        seen = await read(catalogue(http, *models, base_url=provider.base_url).chat(long))
        assert seen.failure is None
        assert [asked.json()["model"] for asked in provider.requests] == ["gpt-5", "other"]
        alone = [replace(models[0], fallbacks=("small",)), models[1]]
        seen = await read(catalogue(http, *alone, base_url=provider.base_url).chat(long))
    assert seen.failure is not None
    assert seen.failure.reason is Reason.PROVIDER_QUOTA_EXHAUSTED


def rejected(reason: Reason = Reason.PROVIDER_REJECTED_REQUEST) -> Failure:
    return InvalidRequest(reason, "no")


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (failing(Reason.PROVIDER_QUOTA_EXHAUSTED), rejected(), Reason.PROVIDER_QUOTA_EXHAUSTED),
        (failing(Reason.PROVIDER_QUOTA_EXHAUSTED), rejected(Reason.CONTENT_BLOCKED), Reason.PROVIDER_QUOTA_EXHAUSTED),
        (busy(), rejected(), Reason.PROVIDER_OVERLOADED),
        (rejected(), failing(Reason.PROVIDER_QUOTA_EXHAUSTED), Reason.PROVIDER_REJECTED_REQUEST),
    ],
)
async def test_what_a_fallback_cannot_take_does_not_hide_why_the_first_failed(
    first: Failure, second: Failure, told: Reason
) -> None:
    seen = await ask(Time(), [Model("a", [first]).route(), Model("b", [second]).route()])
    assert seen.failure is not None
    assert seen.failure.reason is told


@pytest.mark.parametrize(
    ("reason", "asked"),
    [(Reason.CONTEXT_LENGTH_EXCEEDED, 1), (Reason.PROVIDER_REJECTED_REQUEST, 1), (Reason.CONTENT_BLOCKED, 0)],
)
async def test_behind_a_fallback_that_cannot_take_it_the_next_one_is_asked_but_not_about_blocked_content(
    reason: Reason, asked: int
) -> None:
    first, second, third = (
        Model("a", [failing(Reason.MODEL_NOT_FOUND)]),
        Model("b", [rejected(reason)]),
        Model("c", good("c", "x")),
    )
    await ask(Time(), [first.route(), second.route(), third.route()])
    assert third.asked == asked
