"""How much of a reply is held, and what that costs."""

from __future__ import annotations

import pytest

from stepwired.errors import Failure, Reason
from stepwired.events import ChatOptions, ResponseFormat, TextDelta, TokenLogprob, Tool
from stepwired.providers.base import Budget
from tests.providers.test_assembly import begun


def test_tokens_that_wait_for_their_text_are_not_copied_with_each_chunk_and_not_all_kept() -> None:
    reply, events = begun()
    copied = 0

    class Chunk(tuple[TokenLogprob, ...]):
        __slots__ = ()

        def __radd__(self, before: tuple[TokenLogprob, ...]) -> tuple[TokenLogprob, ...]:
            nonlocal copied
            copied += len(before)
            return (*before, *self)

    for place in range(5000):
        reply.text("", events, Chunk([TokenLogprob(str(place), -1.0)]))
    assert (copied, events) == (0, [])
    reply.text("x", events, (TokenLogprob("x", -1.0),))
    (delta,) = events
    assert isinstance(delta, TextDelta)
    assert [token.token for token in delta.logprobs] == [*map(str, range(904, 5000)), "x"]
    reply.text("y", events)
    assert events[-1] == TextDelta("y")


def test_probabilities_are_weighed_with_their_alternatives() -> None:
    reply, events = begun(budget=Budget(logprob_bytes=1000))
    token = TokenLogprob("x", -1.0, tuple(TokenLogprob("y", -2.0) for _ in range(19)))
    reply.text("x", events, (token,))
    assert reply.check_size(events) == 500
    reply.text("x", events, (token,))
    assert reply.check_size(events) == 0
    reply.text("x", events, (token,))
    with pytest.raises(Failure) as failed:
        reply.check_size(events)
    assert (failed.value.reason, events) == (Reason.PROVIDER_RESPONSE_TOO_LARGE, [])


SMALL, LARGE = b'{"type":"object"}', b'{"type":"object","description":"%b"}' % (b"x" * 3000)


@pytest.mark.parametrize(
    ("options", "is_called", "is_light"),
    [
        (ChatOptions(), True, True),
        (ChatOptions(response_format=ResponseFormat(SMALL)), False, True),
        (ChatOptions(response_format=ResponseFormat(LARGE)), False, False),
        (ChatOptions(tools=(Tool("f", schema=SMALL),)), True, True),
        (ChatOptions(tools=(Tool("f", schema=SMALL), Tool("g", schema=LARGE))), True, False),
        (ChatOptions(tools=(Tool("g", schema=LARGE),)), False, True),
    ],
)
def test_a_reply_is_held_against_a_large_schema_beside_the_loop_however_short_it_is(
    options: ChatOptions, *, is_called: bool, is_light: bool
) -> None:
    reply, events = begun(options)
    reply.text("{}", events)
    if is_called:
        reply.tool(0, events, name="f", arguments="{}")
    assert reply.is_light is is_light
