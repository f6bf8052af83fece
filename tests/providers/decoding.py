"""Streamed chat completions, fed to their decoder in pieces, and what came of them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from stepwired.errors import Failure
from stepwired.events import Event, Finished, ReasoningDelta, Started, TextDelta
from stepwired.providers.base import Budget
from stepwired.providers.refusing.refusals import Asked
from stepwired.providers.wires.openai.stream import OpenAIDecoder as Decoder
from tests.fakeprov.behaviours import chunk

ASKED = Asked("acme", "gpt-x", "sk-live-1234567890")


def decode(*chunks: bytes, budget: Budget | None = None) -> list[Event]:
    decoder = Decoder(ASKED, budget)
    events: list[Event] = []
    for piece in chunks:
        events += decoder.feed(piece)
        if decoder.is_done:
            break
    return events + decoder.end()


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def finished(events: list[Event]) -> Finished:
    """The last event, after the rules were checked that hold for every reply."""
    first, last = events[0], events[-1]
    assert isinstance(first, Started)
    assert isinstance(last, Finished)
    assert sum(isinstance(event, Started | Finished) for event in events) == 2
    assert all(event.text for event in events if isinstance(event, TextDelta | ReasoningDelta))
    assert "".join(message.text for message in last.messages) == text(events)
    text(events).encode()  # no lone surrogate
    return last


def failure(*chunks: bytes) -> Failure:
    with pytest.raises(Failure) as failed:
        decode(*chunks)
    return failed.value


def cut(data: bytes, cuts: tuple[int, ...]) -> list[bytes]:
    return [data[start:end] for start, end in pairwise((0, *cuts, len(data)))]


def call(index: int | None, *, id: str | None = None, name: str | None = None, arguments: str = "") -> bytes:  # noqa: A002
    function = {"name": name, "arguments": arguments}
    return chunk(tool_calls=[{"index": index, "id": id, "type": "function", "function": function}])
