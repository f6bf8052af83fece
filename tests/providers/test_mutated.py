"""Recorded shapes of Anthropic and Gemini with something broken: each is a reply or a failure, and no defect."""

from __future__ import annotations

import os
import random
import re

import msgspec
import pytest

from stepwired.events import Event, Finished, TextDelta
from stepwired.providers.wires.anthropic.request import turns
from stepwired.providers.wires.gemini.request import contents
from tests.providers.recorded import Shape, shapes

#: Breakages of each shape; `STEPWIRE_FUZZ` sets it.
COUNT = int(os.environ.get("STEPWIRE_FUZZ", "40"))
SHAPES = [shape for shape in shapes() if shape.wire in ("anthropic", "gemini")]

VALUE = re.compile(rb':("(?:[^"\\]|\\.)*"|-?\d+|null|true|false|\{\}|\[\])')
OTHERS = (b"null", b"[]", b"{}", b'"x"', b"-1", b"1e999", b"true", b'""', b'"\\ud800"', b'"\\udc00\\ud83d"')


def broken(body: bytes, chance: random.Random) -> bytes:
    """The body with other bytes, another value, or its events in another order."""
    kind = chance.random()
    if kind < 0.4:
        changed = bytearray(body)
        for _ in range(chance.randint(1, 3)):
            changed[chance.randrange(len(body))] = chance.randrange(256)
        return bytes(changed)
    if kind < 0.8:
        start, end = chance.choice([found.span(1) for found in VALUE.finditer(body)])
        return body[:start] + chance.choice(OTHERS) + body[end:]
    events = body.split(b"\n\n")
    chance.shuffle(events)
    return b"\n\n".join(events)


def texts(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize("shape", SHAPES, ids=[f"{shape.wire}/{shape.name}" for shape in SHAPES])
def test_whatever_is_broken_in_a_shape_what_comes_of_it_can_be_sent_back(shape: Shape) -> None:
    chance = random.Random(f"{shape.wire}/{shape.name}")
    for _ in range(COUNT):
        body = broken(shape.body, chance)
        events, failure = shape.read([body])  # raises if it is neither
        if failure is not None:
            continue
        last = events[-1]
        assert isinstance(last, Finished), body
        assert texts(events) == "".join(message.text for message in last.messages), body
        said = turns(last.messages, "acme") if shape.wire == "anthropic" else contents(last.messages, "acme")
        assert msgspec.json.encode(said), body
