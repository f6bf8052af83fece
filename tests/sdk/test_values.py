"""JSON goes to protobuf's `Value` and back without loss, or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwire import Message, _values, errors

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-_values.MAX_SAFE_INTEGER, _values.MAX_SAFE_INTEGER)
    | st.floats(-1e9, 1e9).filter(lambda number: not number.is_integer())
    | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


@given(JSON)
def test_json_comes_back_as_it_went(value: Any) -> None:
    again = _values.from_value(_values.to_value(value))
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize("value", [{}, [], {"a": {}}, [[]]])
def test_what_is_empty_stays_what_it_is(value: Any) -> None:
    assert _values.from_value(_values.to_value(value)) == value


def test_integral_floats_become_ints() -> None:
    assert repr(_values.from_value(_values.to_value(2.0))) == "2"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, -(2**53)])
def test_numbers_that_json_would_change_are_refused(value: float) -> None:
    with pytest.raises(errors.InvalidRequest, match="send it as a string"):
        _values.to_value([value])


@pytest.mark.parametrize("value", [object(), {1: "a"}, {"a": {b"b"}}])
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(errors.InvalidRequest):
        _values.to_value(value)


def test_arrays_ranges_and_messages_are_json_too() -> None:
    assert _values.from_value(_values.to_value(range(3))) == [0, 1, 2]
    assert _values.from_value(_values.to_value(np.array([[1, 2]]))) == [[1, 2]]
    assert _values.from_value(_values.to_value({"m": Message(text="hi")})) == {"m": {"text": "hi"}}
    assert _values.from_value(_values.to_value(("a",))) == ["a"]


@pytest.mark.parametrize("levels", [_values.MAX_DEPTH + 1, 60, 5_000])
def test_what_is_nested_too_deep_is_refused_by_name(levels: int) -> None:
    for value in (nested(levels), [nested(levels - 1)]):
        with pytest.raises(errors.InvalidRequest, match="nested too deep"):
            _values.to_value(value)
    with pytest.raises(errors.InvalidRequest, match="nested too deep"):
        _values.to_struct(nested(levels))


def test_what_is_nested_as_deep_as_may_be_is_carried() -> None:
    metadata = nested(_values.MAX_DEPTH)
    assert _values.from_struct(Message(metadata=_values.to_struct(metadata)).metadata) == metadata


def nested(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(levels - 1):
        made = {"a": made}
    return made
