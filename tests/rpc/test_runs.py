from __future__ import annotations

import base64
import struct

import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from stepwire.v1 import step_run_pb2
from stepwired.errors import Failure, Reason
from stepwired.events import Json, Message, Role, Usage
from stepwired.rpc.convert.runs import as_json, run_response
from stepwired.rpc.convert.values import value_of_json
from stepwired.steps.results import (
    Item,
    Metadata,
    Outcome,
    RunFinished,
    StageEvent,
    StageEventKind,
    Vector,
)
from stepwired.store.codec.values import json_of_value

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e15, 1e15) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_json_survives_the_wire(value: Json) -> None:
    sent = struct_pb2.Value.FromString(value_of_json(value).SerializeToString())
    assert json_of_value(sent) == value


@pytest.mark.parametrize(
    ("number", "read"), [(1.0, "1"), (0.5, "0.5"), (2.0**53 - 1, "9007199254740991"), (1e300, "1e+300")]
)
def test_integral_numbers_are_read_as_integers(number: float, read: str) -> None:
    assert repr(json_of_value(struct_pb2.Value(number_value=number))) == read


def test_functions_see_every_value_as_json() -> None:
    assert as_json(Vector(struct.pack("<2f", 0.5, -1), "m")) == [0.5, -1.0]
    assert as_json(b"\x00\xff") == base64.b64encode(b"\x00\xff").decode()
    seen = as_json(Message(Role.USER, "hi"))
    assert isinstance(seen, dict)
    assert seen["text"] == "hi"
    assert as_json({"a": [1]}) == {"a": [1]}


def test_stage_events_carry_what_is_told_of_a_value() -> None:
    started = run_response(1, StageEvent("steps[0]", StageEventKind.STARTED, "n", (), value={"a": 1})).stage
    assert json_of_value(started.value) == {"a": 1}
    null = run_response(1, StageEvent("steps[0]", StageEventKind.RESULT, "n", (), value=None)).stage
    assert null.value.WhichOneof("kind") == "null_value"
    untold = run_response(1, StageEvent("steps[0]", StageEventKind.RESULT, "n", ())).stage
    assert not untold.HasField("value")
    failed = StageEvent("s", StageEventKind.ERROR, "n", (), failure=Failure(Reason.INTERNAL, "x"), dropped_before=2**40)
    written = run_response(1, failed).stage
    assert (written.failure.reason, written.dropped_before) == ("INTERNAL", 2**31 - 1)


def test_metadata_keeps_the_shape_of_the_spec() -> None:
    inner = Metadata("steps[0].map.step", "named", "n", 5 * 10**9, 1.5, 3, 2, 1, 3, Usage(), {"a": "b"}, Outcome.FAILED)
    outer = Metadata("", "run", "", 0, 0.0, 1, 2, 1, 1, None, {}, Outcome.NOT_STARTED, steps=(inner,))
    written = run_response(9, RunFinished(2, 1, True, 4, outer)).finished
    assert (written.aborted, written.inputs_not_started) == (True, 4)
    assert not written.metadata.HasField("start_time")
    assert not written.metadata.HasField("usage")
    (step,) = written.metadata.steps
    assert (step.start_time.seconds, step.duration.ToMilliseconds(), step.inputs, step.attempts) == (5, 1500, 3, 3)
    assert step.outcome == step_run_pb2.STEP_OUTCOME_FAILED
    assert step.HasField("usage")


def test_bytes_and_null_are_results_too() -> None:
    assert run_response(1, Item((0, 1), b"raw")).data == b"raw"
    nothing = run_response(1, Item((), None))
    assert nothing.WhichOneof("event") == "value"
    assert nothing.value.WhichOneof("kind") == "null_value"
