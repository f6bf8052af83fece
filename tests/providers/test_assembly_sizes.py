"""How much of a reply is held, and what that costs."""

from __future__ import annotations

import pytest

from stepwired.errors import Failure, Reason
from stepwired.events import TextDelta, TokenLogprob
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
