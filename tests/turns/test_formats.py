from __future__ import annotations

from typing import Any

import pytest

from stepwired.errors import Failure, Reason, Unavailable
from stepwired.events import (
    ChatOptions,
    ChatRequest,
    Message,
    ResponseFormat,
    Restarted,
    Role,
    Started,
    TextDelta,
)
from stepwired.turns.formats import with_format
from tests.turns.scripted import Model, kinds, text_since_restart, the_end, told, turn

STRICT = ResponseFormat(b'{"type":"object"}', retry=True)


def unfit(**facts: str) -> Failure:
    text = "p sent what does not match its schema: the reply: $.lives does not match `type`"
    return Unavailable(Reason.STRUCTURED_OUTPUT_INVALID, text, metadata={"at": "$.lives", "provider": "p", **facts})


def asking(wanted: ResponseFormat | None = STRICT) -> ChatRequest:
    return ChatRequest(messages=(Message(text="A cat."),), options=ChatOptions(response_format=wanted))


def failing(*texts: str, failure: Failure | None = None) -> list[Any]:
    return [[Started("m", "p")], *([TextDelta(text)] for text in texts), failure or unfit()]


async def test_a_reply_that_does_not_match_is_asked_for_once_more_with_what_is_wrong() -> None:
    model = Model(failing("{", "}"), turn('{"lives":9}', structured={"lives": 9}))
    events = await told(with_format(model), asking())
    assert kinds(events) == ["Started", "TextDelta", "TextDelta", "Restarted", "TextDelta", "Finished"]
    assert events[3] == Restarted(2, "STRUCTURED_OUTPUT_INVALID", "m", "p")
    end = the_end(events)
    assert (end.structured, text_since_restart(events)) == ({"lives": 9}, '{"lives":9}')
    assert [attempt.reason for attempt in end.attempts] == ["STRUCTURED_OUTPUT_INVALID", ""]
    assert end.turns == 1
    shown, why = model.asked[1].messages[1:]
    assert shown == Message(Role.ASSISTANT, "{}")
    assert "$.lives does not match `type`" in why.text


async def test_a_second_reply_that_does_not_match_either_is_the_end() -> None:
    model = Model(failing("{}"))
    with pytest.raises(Unavailable):
        await told(with_format(model), asking())
    assert len(model.asked) == 2


@pytest.mark.parametrize("wanted", [None, ResponseFormat(b"{}")])
async def test_nothing_is_asked_twice_unless_the_caller_said_so(wanted: ResponseFormat | None) -> None:
    model = Model(failing("{}"))
    with pytest.raises(Unavailable):
        await told(with_format(model), asking(wanted))
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    "failure", [unfit(toolCall="0"), Unavailable(Reason.PROVIDER_STREAM_TRUNCATED, "cut")], ids=["tool", "other"]
)
async def test_other_failures_are_passed_on(failure: Failure) -> None:
    model = Model(failing("x", failure=failure))
    with pytest.raises(Unavailable) as failed:
        await told(with_format(model), asking())
    assert (failed.value, len(model.asked)) == (failure, 1)


async def test_a_first_try_of_which_nothing_was_told_leaves_no_trace_but_its_attempt() -> None:
    model = Model([unfit()], turn("{}"))
    events = await told(with_format(model), asking())
    assert kinds(events) == ["Started", "TextDelta", "Finished"]
    assert [attempt.provider for attempt in the_end(events).attempts] == ["p", "p"]
    assert len(model.asked[1].messages) == 2, "there is no reply to be shown"


async def test_restarts_of_the_provider_count_too_and_only_the_last_text_is_shown() -> None:
    again = [Restarted(2, "PROVIDER_ERROR", "m2", "p2")]
    first = failing("old")
    model = Model([*first[:-1], again, [TextDelta("new")], first[-1]], [*turn()[:1], again, *turn("{}")[1:]])
    events = await told(with_format(model), asking())
    assert [event.attempt for event in events if isinstance(event, Restarted)] == [2, 3, 4]
    assert model.asked[1].messages[1].text == "new"
    assert the_end(events).attempts[0].provider == "p2"
