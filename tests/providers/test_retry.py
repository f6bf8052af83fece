"""What is tried again, where, after how long, and what is not: on a clock that only waiting moves."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from stepwired.errors import ABORTS_A_RUN, Failure, InvalidRequest, Misconfigured, Reason, Throttled
from stepwired.events import Embeddings, Finished, Price, Started, TextDelta
from stepwired.providers.retrying.budget import RetryBudget
from stepwired.providers.retrying.retry import Retry
from tests.providers.retrying import (
    REQUEST,
    Model,
    Script,
    Time,
    ask,
    busy,
    failing,
    good,
    limited,
    read,
    started,
    time_left,
)

R = Reason


async def test_a_reply_that_begins_is_passed_on_as_it_comes() -> None:
    model = Model("a", good("a", "Hel", "lo"))
    batches = [batch async for batch in Time().retry().chat([model.route()], REQUEST)]
    assert [len(batch) for batch in batches] == [2, 1, 1]  # `Started` came with the first text
    assert [type(event) for batch in batches for event in batch] == [Started, TextDelta, TextDelta, Finished]
    last = batches[-1][0]
    assert isinstance(last, Finished)
    assert [(each.provider, each.model, each.reason) for each in last.attempts] == [("at-a", "their-a", "")]


@pytest.mark.parametrize(
    ("reason", "times"),
    [
        (R.PROVIDER_RATE_LIMITED, 3),
        (R.PROVIDER_OVERLOADED, 3),
        (R.PROVIDER_ERROR, 3),
        (R.PROVIDER_UNREACHABLE, 3),
        (R.MODEL_LOADING, 3),
        (R.PROVIDER_TIMEOUT, 2),
        (R.PROVIDER_PROTOCOL_ERROR, 2),
        (R.PROVIDER_STREAM_TRUNCATED, 1),
        (R.PROVIDER_STREAM_STALLED, 1),
        (R.PROVIDER_QUOTA_EXHAUSTED, 1),
        (R.PROVIDER_API_KEY_INVALID, 1),
        (R.PROVIDER_REJECTED_REQUEST, 1),
        (R.PROVIDER_REQUEST_TOO_LARGE, 1),
        (R.PROVIDER_TLS_INVALID, 1),
        (R.CONTEXT_LENGTH_EXCEEDED, 1),
        (R.CONTENT_BLOCKED, 1),
        (R.MODEL_NOT_FOUND, 1),
        (R.INTERNAL, 1),
    ],
)
async def test_each_reason_is_tried_as_often_as_its_row_says(reason: Reason, times: int) -> None:
    time, model = Time(), Model("a", [failing(reason)])
    seen = await ask(time, [model.route()])
    assert model.asked == model.closed == times
    assert seen.failure is not None
    assert seen.failure.reason is reason
    assert seen.failure.metadata == ({"attempts": str(times)} if times > 1 else {})
    assert len(time.waits) == times - 1


async def test_waits_grow_are_random_and_never_shorter_than_a_tenth_of_a_second() -> None:
    for dice, waits in ((0.0, [0.1, 0.1]), (0.5, [0.25, 0.5]), (1.0, [0.5, 1.0])):
        time = Time(dice=dice)
        await ask(time, [Model("a", [busy()]).route()])
        assert time.waits == waits


@pytest.mark.parametrize(
    ("hint_s", "least_s", "most_s"), [(2.0, 2.0, 2.5), (60.0, 60.0, 60.4), (0.001, 0.1, 0.11), (0.7, 0.7, 0.85)]
)
@pytest.mark.parametrize("dice", [0.0, 1.0])
async def test_a_named_wait_is_kept_and_never_cut_short(
    hint_s: float, least_s: float, most_s: float, dice: float
) -> None:
    time = Time(dice=dice)
    seen = await ask(time, [Model("a", [limited(hint_s)], good("a", "x")).route()])
    assert seen.text == "x"
    assert least_s <= time.waits[0] <= most_s


async def test_a_wait_of_more_than_a_minute_is_left_to_the_caller() -> None:
    time, model = Time(), Model("a", [limited(61.0)])
    seen = await ask(time, [model.route()])
    assert (model.asked, time.waits) == (1, [])
    assert seen.failure is not None
    assert seen.failure.retry_after_s == 61.0


async def test_what_would_last_beyond_the_deadline_fails_at_once_and_says_when_to_come_back() -> None:
    time, model = Time(), Model("a", [limited(2.0)])
    with time_left(1.9):
        seen = await ask(time, [model.route()])
    assert (model.asked, time.waits) == (1, [])
    assert seen.failure is not None
    assert seen.failure.retry_after_s == 2.0


async def test_a_deadline_that_is_far_stops_nothing() -> None:
    with time_left(1000.0):
        assert (await ask(Time(), [Model("a", [limited(2.0)], good("a", "x")).route()])).text == "x"


async def test_everything_that_was_tried_is_said_with_its_times() -> None:
    time = Time()
    model = Model("a", [limited(2.0)], [busy()], good("a", "x"), time=time, takes_s=3.0)
    seen = await ask(time, [model.route()])
    assert [(each.reason, each.duration_s, each.wait_s) for each in seen.tried] == [
        ("PROVIDER_RATE_LIMITED", 3.0, 0.0),
        ("PROVIDER_OVERLOADED", 3.0, time.waits[0]),
        ("", 3.0, time.waits[1]),
    ]


@pytest.mark.parametrize(
    "script", [[[started("a"), TextDelta("Hel")], busy()], [[started("a")], [TextDelta("x")], busy()]]
)
async def test_nothing_is_tried_again_once_text_was_passed_on(script: Script) -> None:
    model, other = Model("a", script), Model("b", good("b", "x"))
    seen = await ask(Time(), [model.route(), other.route()])
    assert (model.asked, other.asked) == (1, 0)
    assert seen.text
    assert seen.failure is not None
    assert seen.failure.reason is R.PROVIDER_OVERLOADED


async def test_a_model_that_only_says_it_is_there_can_be_replaced() -> None:
    model, other = Model("a", [[started("a")], failing(R.PROVIDER_STREAM_STALLED)]), Model("b", good("b", "x"))
    seen = await ask(Time(), [model.route(), other.route()])
    assert [event for event in seen.events if isinstance(event, Started)] == [started("b")]
    assert seen.attempts == [("at-a", "PROVIDER_STREAM_STALLED"), ("at-b", "")]


async def test_fallbacks_are_asked_in_order_until_one_begins() -> None:
    time = Time()
    first, second = Model("a", [busy()]), Model("b", [failing(R.PROVIDER_TIMEOUT)], time=time, takes_s=60.0)
    third, fourth = Model("c", good("c", "Hel", "lo")), Model("d", good("d", "x"))
    seen = await ask(time, [first.route(), second.route(), third.route(), fourth.route()])
    assert seen.text == "Hello"
    assert (first.asked, second.asked, third.asked, fourth.asked) == (3, 1, 1, 0)
    assert seen.attempts == [
        *[("at-a", "PROVIDER_OVERLOADED")] * 3,
        ("at-b", "PROVIDER_TIMEOUT"),
        ("at-c", ""),
    ]
    assert [each.wait_s for each in seen.tried] == [0.0, *time.waits, 0.0, 0.0]
    assert seen.tried[3].duration_s == 60.0


async def test_who_has_a_fallback_is_not_waited_for_long() -> None:
    time = Time()
    first, second = Model("a", [limited(10.0)]), Model("b", good("b", "x"))
    assert (await ask(time, [first.route(), second.route()])).text == "x"
    assert (first.asked, time.waits) == (1, [])


@pytest.mark.parametrize(
    "reason",
    sorted({*ABORTS_A_RUN, R.PROVIDER_STREAM_TRUNCATED, R.PROVIDER_RESPONSE_TOO_LARGE, R.PROVIDER_REDIRECT_REFUSED}),
)
async def test_what_another_endpoint_may_not_have_is_asked_there(reason: Reason) -> None:
    seen = await ask(Time(), [Model("a", [failing(reason)]).route(), Model("b", good("b", "x")).route()])
    if reason is R.PROVIDER_CALLER_KEY_INVALID:  # the caller has to mend it
        assert seen.failure is not None
    else:
        assert seen.attempts == [("at-a", reason), ("at-b", "")]


@pytest.mark.parametrize(
    "reason",
    [R.CONTEXT_LENGTH_EXCEEDED, R.CONTENT_BLOCKED, R.PROVIDER_REJECTED_REQUEST, R.PROVIDER_REQUEST_TOO_LARGE],
)
async def test_what_is_of_the_request_itself_is_asked_nowhere_else(reason: Reason) -> None:
    other = Model("b", good("b", "x"))
    seen = await ask(Time(), [Model("a", [failing(reason)]).route(), other.route()])
    assert seen.failure is not None
    assert other.asked == 0


async def test_when_all_fail_the_caller_is_told_of_one_that_time_may_heal() -> None:
    key = Misconfigured(R.PROVIDER_API_KEY_INVALID, "invalid api key")
    seen = await ask(Time(), [Model("a", [limited(61.0)]).route(), Model("b", [key]).route()])
    assert seen.failure is not None
    assert (seen.failure.reason, seen.failure.metadata["attempts"]) == (R.PROVIDER_RATE_LIMITED, "2")
    seen = await ask(Time(), [Model("a", [key]).route(), Model("b", [busy()]).route()])
    assert seen.failure is not None
    assert seen.failure.reason is R.PROVIDER_OVERLOADED


async def test_a_server_that_answers_in_order_but_not_what_was_asked_is_asked_once() -> None:
    wrong = failing(R.PROVIDER_PROTOCOL_ERROR)
    wrong.metadata["httpStatus"] = "404"
    model = Model("a", [wrong])
    await ask(Time(), [model.route()])
    assert model.asked == 1


async def test_of_an_endpoint_that_always_fails_few_calls_are_tried_again() -> None:  # F10
    budget, time = RetryBudget(), Time()
    model = Model("a", [busy()])
    route = model.route(budget)
    await asyncio.gather(*[ask(time, [route]) for _ in range(200)])
    assert model.asked <= 200 * 1.1 + 10
    assert model.asked > 200
    before = model.asked
    for _ in range(100):
        await ask(time, [route])
    assert model.asked - before <= 110  # now that the burst is gone


async def test_coming_back_when_a_rate_limit_said_so_takes_nothing_from_the_others() -> None:
    budget, time = RetryBudget(), Time()
    model = Model("a", [limited(1.0)])
    for _ in range(50):
        await ask(time, [model.route(budget)])
    assert model.asked == 150
    unnamed = Model("b", [limited()])
    for _ in range(50):
        await ask(time, [unnamed.route(budget)])
    assert unnamed.asked <= 50 + 10 + 5


async def test_calls_that_go_well_earn_retries_back() -> None:
    budget = RetryBudget()
    while budget.spend():
        pass
    for _ in range(10):
        budget.earn()
    assert [budget.spend(), budget.spend()] == [True, False]


async def test_leaving_while_it_waits_leaves_nothing() -> None:
    waiting = asyncio.Event()

    async def sleep(_: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    model = Model("a", [busy()])
    task = asyncio.create_task(read(Retry(sleep=sleep).chat([model.route()], REQUEST)))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (model.asked, model.closed) == (1, 1)


async def test_leaving_in_the_middle_closes_the_attempt_at_once() -> None:
    model = Model("a", good("a", "x", "y"))
    async with aclosing(Time().retry().chat([model.route()], REQUEST)) as batches:
        await anext(batches)
    assert model.closed == 1


async def test_the_reply_says_what_it_cost() -> None:
    price = Price(2.0, 10.0)
    seen = await ask(Time(), [Model("a", good("a", "x")).route(price=price)])
    last = seen.events[-1]
    assert isinstance(last, Finished)
    assert last.usage.cost_usd == pytest.approx((100 * 2.0 + 10 * 10.0) / 1e6)


async def test_vectors_are_tried_again_by_the_same_rules() -> None:
    time, route = Time(), Model("a", []).route()
    outcomes: list[Failure | Embeddings] = [limited(2.0), busy(), Embeddings("m", 1, (b"1234",))]

    async def make() -> Embeddings:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Failure):
            raise outcome
        return outcome

    assert (await time.retry().embed(route, make)).rows == (b"1234",)
    assert len(time.waits) == 2
    outcomes[:] = [InvalidRequest(R.INVALID_INPUT_TEXT, "too long")]
    with pytest.raises(InvalidRequest):
        await time.retry().embed(route, make)
    outcomes[:] = [Throttled(R.PROVIDER_QUOTA_EXHAUSTED, "spent")]
    with pytest.raises(Throttled):
        await time.retry().embed(route, make)
