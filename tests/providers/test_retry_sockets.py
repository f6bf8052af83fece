"""Retries and fallbacks over real sockets, F01 to F12: only the waits between attempts are not real."""

from __future__ import annotations

import asyncio
import time as clock
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from stepwired.errors import Reason
from stepwired.events import ChatRequest, EmbedRequest, Message
from stepwired.providers.base import Budget, Endpoint, ModelEntry, static
from stepwired.providers.catalogue.catalogue import Catalogue
from stepwired.providers.net.http import Http
from tests.fakeprov import Behaviour, Provider, behaviours
from tests.fakeprov.behaviours import in_turn, reply, status
from tests.providers.retrying import Seen, Time, read, time_left

REQUEST = ChatRequest("m0", messages=(Message(text="hi"),))
KEY = "sk-operator-0123456789"


@pytest.fixture
async def http() -> AsyncGenerator[Http]:
    http = Http()
    yield http
    await http.aclose()


def catalogue(http: Http, time: Time, *base_urls: str, late: int | None = None, **budget: Any) -> Catalogue:
    """Models `m0`, `m1`, … at an endpoint each, every one the fallback of the one before.

    The budget is that of endpoint number `late`, or of all: who answers in time may take its time for it.
    """
    names = [f"m{index}" for index in range(len(base_urls))]
    endpoints = [
        Endpoint(f"at-{name}", static(base_url, KEY), budget=Budget(**budget) if late in {None, index} else Budget())
        for index, (name, base_url) in enumerate(zip(names, base_urls, strict=True))
    ]
    models = [
        ModelEntry(name, "chat", f"at-{name}", name, fallbacks=tuple(names[index + 1 : index + 2]))
        for index, name in enumerate(names)
    ]
    return Catalogue(endpoints, models, http, retry=time.retry())


async def ask(http: Http, time: Time, behaviour: Behaviour, **budget: Any) -> tuple[Seen, Provider]:
    async with Provider(behaviour) as provider:
        return await read(catalogue(http, time, provider.base_url, **budget).chat(REQUEST)), provider


@pytest.mark.parametrize(
    ("said", "least_s", "most_s"),
    [
        ({"retry-after": "2"}, 2.0, 2.5),  # F01
        ({"retry-after-ms": "700", "retry-after": "30"}, 0.7, 0.9),  # F03
        ({"retry-after": "soon"}, 0.1, 0.5),  # F04
        ({"retry-after": "-1"}, 0.1, 0.5),
        ({"retry-after": "1.5"}, 0.1, 0.5),
        ({"retry-after": "1e20"}, 0.1, 0.5),
        ({"x-ratelimit-reset-requests": "1m2s"}, 0.0, 0.0),  # longer than we wait
        ({"x-ratelimit-reset-requests": "3s"}, 3.0, 3.5),
    ],
)
@pytest.mark.parametrize("dice", [0.0, 1.0])
async def test_a_rate_limit_is_waited_for_as_long_as_it_says(
    http: Http, said: dict[str, str], least_s: float, most_s: float, dice: float
) -> None:
    time = Time(dice=dice)
    seen, provider = await ask(http, time, in_turn(status(429, said), reply()))
    if most_s:
        assert seen.text == "Hello"
        assert least_s <= time.waits[0] <= most_s
        assert seen.attempts == [("at-m0", "PROVIDER_RATE_LIMITED"), ("at-m0", "")]
    else:
        assert len(provider.requests) == 1
        assert seen.failure is not None
        assert seen.failure.retry_after_s == 62.0


@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"])
async def test_a_date_is_waited_for_in_all_three_forms(http: Http, form: str) -> None:  # F02
    at = clock.time() + 30
    time = Time()
    seen, _ = await ask(
        http, time, in_turn(status(429, {"retry-after": clock.strftime(form, clock.gmtime(at))}), reply())
    )
    assert seen.text == "Hello"
    assert 20 <= time.waits[0] <= 31


async def test_a_wait_beyond_the_deadline_fails_now(http: Http) -> None:  # F05
    time = Time()
    with time_left(10.0):
        seen, provider = await ask(http, time, status(429, {"retry-after": "11"}))
    assert (len(provider.requests), time.waits) == (1, [])
    assert seen.failure is not None
    assert (seen.failure.reason, seen.failure.retry_after_s) == (Reason.PROVIDER_RATE_LIMITED, 11.0)


async def test_a_spent_quota_is_not_tried_again(http: Http) -> None:  # F06
    body = {"error": {"code": "insufficient_quota", "message": "spent"}}
    seen, provider = await ask(http, Time(), status(429, {"retry-after": "1"}, body))
    assert len(provider.requests) == 1
    assert seen.failure is not None
    assert (seen.failure.reason, seen.failure.retry_after_s) == (Reason.PROVIDER_QUOTA_EXHAUSTED, None)


@pytest.mark.parametrize("code", [408, 409, 425, 500, 502, 503, 504, 520, 529])  # F07
async def test_what_time_heals_is_tried_twice_again(http: Http, code: int) -> None:
    time = Time()
    seen, provider = await ask(http, time, status(code))
    assert len(provider.requests) == 3
    assert len(time.waits) == 2
    assert seen.failure is not None
    assert seen.failure.is_transient
    assert (await ask(http, time, in_turn(status(code), status(code), reply())))[0].text == "Hello"


@pytest.mark.parametrize("code", [400, 401, 402, 403, 404, 413, 422])  # F08
async def test_what_the_request_or_the_account_is_to_blame_for_is_asked_once(http: Http, code: int) -> None:
    seen, provider = await ask(http, Time(), status(code))
    assert len(provider.requests) == 1
    assert seen.failure is not None
    assert not seen.failure.is_transient


@pytest.mark.parametrize("then", ["end", "finish", "reset"])
async def test_after_the_first_token_nothing_is_asked_again(http: Http, then: str) -> None:  # F09
    seen, provider = await ask(http, Time(), behaviours.truncated(then=then))
    assert len(provider.requests) == 1
    assert seen.text == "Hello"
    assert seen.failure is not None
    assert seen.failure.reason is Reason.PROVIDER_STREAM_TRUNCATED


async def test_two_hundred_clients_of_a_failing_provider_hardly_ask_more_than_once_each(http: Http) -> None:  # F10
    async with Provider(status(503)) as provider:
        models = catalogue(http, Time(), provider.base_url)
        seen = await asyncio.gather(*[read(models.chat(REQUEST)) for _ in range(200)])
        first = len(provider.requests)
        await asyncio.gather(*[read(models.chat(REQUEST)) for _ in range(200)])
    assert {one.failure.reason for one in seen if one.failure} == {Reason.PROVIDER_OVERLOADED}
    assert first <= 1.1 * 200 + 10
    assert len(provider.requests) - first <= 1.1 * 200


async def test_who_refuses_connections_is_tried_again(http: Http) -> None:  # F11
    async with Provider(reply()) as provider:
        pass
    time = Time()
    seen = await read(catalogue(http, time, provider.base_url).chat(REQUEST))
    assert len(time.waits) == 2
    assert seen.failure is not None
    assert (seen.failure.reason, seen.failure.metadata["attempts"]) == (Reason.PROVIDER_UNREACHABLE, "3")


async def test_who_never_answers_is_asked_once_more(http: Http) -> None:  # F12
    time = Time()
    seen, _ = await ask(http, time, behaviours.silent(), first_byte_s=0.05)
    assert len(time.waits) == 1
    assert seen.failure is not None
    assert seen.failure.reason is Reason.PROVIDER_TIMEOUT


async def test_the_first_is_overloaded_the_second_late_and_the_third_answers(http: Http) -> None:
    async with Provider(status(529)) as first, Provider(behaviours.silent()) as second, Provider(reply()) as third:
        models = catalogue(http, Time(), first.base_url, second.base_url, third.base_url, late=1, first_byte_s=0.1)
        seen = await read(models.chat(REQUEST))
        assert seen.text == "Hello"
        assert [len(each.requests) for each in (first, third)] == [3, 1]
        assert seen.attempts == [
            *[("at-m0", "PROVIDER_OVERLOADED")] * 3,
            ("at-m1", "PROVIDER_TIMEOUT"),
            ("at-m2", ""),
        ]
        assert [each.requests[0].json()["model"] for each in (first, third)] == ["m0", "m2"]


async def test_a_caller_that_leaves_during_a_wait_leaves_no_socket(http: Http) -> None:
    waiting = asyncio.Event()

    class Forever(Time):
        async def sleep(self, _: float) -> None:
            waiting.set()
            await asyncio.Event().wait()

    async with Provider(status(503)) as provider:
        task = asyncio.create_task(read(catalogue(http, Forever(), provider.base_url).chat(REQUEST)))
        await asyncio.wait_for(waiting.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(provider.requests) == 1


async def test_vectors_are_asked_for_again_too(http: Http) -> None:
    time = Time()
    async with Provider(in_turn(status(503), behaviours.embeddings(3))) as provider:
        models = Catalogue(
            [Endpoint("acme", static(provider.base_url))],
            [ModelEntry("v", "embed", "acme", "v", dimensions=3)],
            http,
            retry=time.retry(),
        )
        made = await models.embed(EmbedRequest(("a",)))
    assert (len(made.rows), len(time.waits)) == (1, 1)
