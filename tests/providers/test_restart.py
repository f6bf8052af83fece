"""Replies that break off in the middle and begin again, where the caller asked for that."""

from __future__ import annotations

import pytest

from stepwired.errors import Reason
from stepwired.events import Finished, Restarted, Started, TextDelta
from tests.providers.retrying import RESTARTING, Model, Script, Time, ask, failing, good, started

R = Reason


async def test_with_restart_a_reply_that_breaks_off_begins_again() -> None:
    cut: Script = [[started("a")], [TextDelta("Hel")], failing(R.PROVIDER_STREAM_TRUNCATED)]
    time, model = Time(), Model("a", cut, good("a", "Good", "bye"))
    seen = await ask(time, [model.route()], RESTARTING)
    assert [type(event) for event in seen.events] == [Started, TextDelta, Restarted, TextDelta, TextDelta, Finished]
    again = seen.events[2]
    assert again == Restarted(2, "PROVIDER_STREAM_TRUNCATED", "their-a", "at-a")
    assert seen.attempts == [("at-a", "PROVIDER_STREAM_TRUNCATED"), ("at-a", "")]
    assert time.waits == [0.25]


async def test_with_restart_a_fallback_takes_over_too() -> None:
    cut: Script = [[started("a"), TextDelta("Hel")], failing(R.PROVIDER_STREAM_STALLED)]
    first, second = Model("a", cut, [failing(R.PROVIDER_TLS_INVALID)]), Model("b", good("b", "x"))
    seen = await ask(Time(), [first.route(), second.route()], RESTARTING)
    assert [event for event in seen.events if isinstance(event, Restarted)] == [
        Restarted(3, "PROVIDER_TLS_INVALID", "their-b", "at-b")
    ]
    assert seen.text == "Helx"


async def test_with_restart_too_attempts_come_to_an_end() -> None:
    model = Model("a", [[started("a"), TextDelta("Hel")], failing(R.PROVIDER_STREAM_TRUNCATED)])
    seen = await ask(Time(), [model.route()], RESTARTING)
    assert model.asked == 3
    assert seen.failure is not None
    assert [type(event) for event in seen.events] == [Started, *[TextDelta, Restarted] * 2, TextDelta]


@pytest.mark.parametrize(("reason", "asked"), [(R.PROVIDER_STREAM_TRUNCATED, 3), (R.PROVIDER_STREAM_STALLED, 2)])
async def test_with_restart_a_reply_that_breaks_off_before_its_first_word_begins_again_too(
    reason: Reason, asked: int
) -> None:
    cut: Script = [[started("a")], failing(reason)]
    seen = await ask(Time(), [Model("a", cut, good("a", "x")).route()], RESTARTING)
    assert [type(event) for event in seen.events] == [Started, TextDelta, Finished]  # nothing to be forgotten
    assert seen.attempts == [("at-a", reason), ("at-a", "")]
    model = Model("a", cut)
    assert (await ask(Time(), [model.route()], RESTARTING)).failure is not None
    assert model.asked == asked
