"""Every recorded shape of every wire: its events, and the same ones however it is cut."""

from __future__ import annotations

import os
from typing import Any

import pytest

from stepwired.errors import Failure
from stepwired.events import Event, Finished, TextDelta
from stepwired.providers.wires import WIRES
from tests.providers.recorded import Shape, framings, shapes, told

#: Re-framings of each shape. `STEPWIRE_FUZZ=100000` is the whole of it: about half an hour.
FRAMINGS = int(os.environ.get("STEPWIRE_FUZZ", "100"))
SHAPES = shapes()
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=[f"{shape.wire}/{shape.name}" for shape in SHAPES])


def outcome(events: list[Event], failure: Failure | None) -> dict[str, Any]:
    said: dict[str, Any] = {"events": [told(event) for event in events]}
    if failure is not None:
        said["failure"] = failure.reason.value
        said |= {"at": failure.metadata["at"]} if "at" in failure.metadata else {}
    return said


@each_shape
def test_each_recorded_shape_gives_the_events_that_are_written_beside_it(shape: Shape) -> None:
    events, failure = shape.read([shape.body])
    found = outcome(events, failure)
    if os.environ.get("STEPWIRE_SHAPES") == "write":
        kept = {name: shape.said[name] for name in ("vendor", "quirks", "options") if name in shape.said}
        shape.save(kept | found)
        return
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


def test_every_wire_that_chats_has_shapes() -> None:
    assert {shape.wire for shape in SHAPES} <= WIRES.keys()
    assert {shape.wire for shape in SHAPES} >= WIRES.keys() - {"cohere"}
