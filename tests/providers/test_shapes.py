"""Every recorded shape of every wire: its events, and the same ones however it is cut."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import pytest

from stepwired.events import Finished, TextDelta
from stepwired.providers.wires.table import WIRES
from tests.providers.recorded import Shape, framings, outcome, shapes, told

#: Re-framings of each shape. `STEPWIRE_FUZZ=100000` is the whole of it: about half an hour.
FRAMINGS = int(os.environ.get("STEPWIRE_FUZZ", "100"))
SHAPES = shapes()
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=[f"{shape.wire}/{shape.name}" for shape in SHAPES])


@each_shape
def test_each_recorded_shape_gives_the_events_that_are_written_beside_it(shape: Shape) -> None:
    events, failure = shape.read([shape.body])
    found = outcome(events, failure)
    assert found == {name: shape.said[name] for name in ("events", "failure", "at") if name in shape.said}
    assert (failure is None) == (bool(events) and isinstance(events[-1], Finished))


@each_shape
def test_the_texts_of_a_shape_are_those_of_its_messages(shape: Shape) -> None:
    events, failure = shape.read([shape.body])
    if failure is None:
        last = events[-1]
        assert isinstance(last, Finished)
        texts = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert texts == "".join(message.text for message in last.messages)


@each_shape
@pytest.mark.timeout(0)
def test_however_a_shape_is_cut_its_events_are_the_same(shape: Shape) -> None:
    events, failure = shape.read([shape.body])
    for pieces in framings(shape.body, FRAMINGS, f"{shape.wire}/{shape.name}"):
        again, failed = shape.read(pieces)
        assert again == events, pieces
        assert (failed and (failed.reason, failed.metadata, str(failed))) == (
            failure and (failure.reason, failure.metadata, str(failure))
        ), pieces


@each_shape
def test_however_the_lines_of_a_shape_end_its_events_are_the_same(shape: Shape) -> None:
    expected = shape.read([shape.body])[0]
    is_sse = shape.body.startswith((b"data:", b"event:", b":"))
    for newline in (b"\r\n", b"\r") if is_sse else (b"\r\n",):
        body = shape.body.replace(b"\n", newline)
        assert shape.read([body])[0] == expected
        assert shape.read([body[at : at + 1] for at in range(len(body))])[0] == expected


#: What a server may put in the place of anything.
_ANYTHING: list[Any] = [
    None,
    True,
    0,
    -1,
    10**30,
    1e300,
    "",
    "\\ud83d",
    "a\\ude00",
    "\0",
    [],
    [[]],
    [None],
    {},
    {"text": "\\ud83d"},
]


def spoilt(value: Any, chance: random.Random, odds: float) -> Any:
    """A value with some of its parts replaced by others."""
    if chance.random() < odds:
        return chance.choice(_ANYTHING)
    if isinstance(value, dict):
        return {name: spoilt(item, chance, odds) for name, item in value.items()}
    return [spoilt(item, chance, odds) for item in value] if isinstance(value, list) else value


@each_shape
def test_whatever_is_put_in_the_place_of_anything_only_failures_come_of_it(shape: Shape) -> None:
    chance = random.Random(f"{shape.wire}/{shape.name}")
    for odds in (0.02, 0.1, 0.3):
        for _ in range(40):
            lines = []
            for line in shape.body.decode("utf-8", "replace").split("\n"):
                start = line.find("{")
                try:
                    said = json.dumps(spoilt(json.loads(line[start:]), chance, odds)).replace("\\\\u", "\\u")
                except ValueError:
                    lines.append(line)
                else:
                    lines.append(line[:start] + said)
            body = "\n".join(lines).encode()
            events, _ = shape.read([body])
            json.dumps([told(event) for event in events], ensure_ascii=False).encode()  # what can be sent
            again, _ = shape.read([body[:40], body[40:]])
            assert again == events


def test_every_wire_that_chats_has_shapes() -> None:
    assert {shape.wire for shape in SHAPES} <= WIRES.keys()
    assert {shape.wire for shape in SHAPES} >= WIRES.keys() - {"cohere"}
