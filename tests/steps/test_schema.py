"""What steps with a schema are given, and what is made to fit it."""

from __future__ import annotations

from typing import Any

import pytest

from stepwired.errors import InvalidRequest, Reason
from stepwired.steps.schema import Converter, converter


def fit(schema: Any) -> Converter:
    made = converter(schema, is_input=True)
    assert made is not None
    return made


def test_what_a_step_does_to_a_default_is_not_seen_by_the_next_nor_in_the_schema() -> None:
    schema: dict[str, Any] = {"properties": {"who": {"default": ["nobody"]}, "deep": {"default": {"a": []}}}}
    convert = fit(schema)
    first: Any = convert({})
    first["who"].append("alice's secret")
    first["deep"]["a"].append("alice's secret")
    schema["properties"]["who"]["default"].append("bob")
    assert convert({}) == {"who": ["nobody"], "deep": {"a": []}}


INTEGER: dict[str, Any] = {"type": "integer"}


@pytest.mark.parametrize(
    "schema",
    [
        INTEGER,
        {"type": ["integer", "null"]},
        {"type": ["null", "integer"]},
        {"$ref": "#/$defs/number%20"},
        {"allOf": [{"minimum": 0}, {"$ref": "#/$defs/number%20"}]},
        {"anyOf": [INTEGER, {"type": "null"}]},
        {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/number%20"}]},
    ],
)
def test_a_text_is_taken_for_a_number_wherever_one_is_wanted(schema: dict[str, Any]) -> None:
    there = {"$defs": {"number ": INTEGER}}
    assert fit(schema | there)("7") == 7
    assert fit({"properties": {"a": {"items": schema}}} | there)({"a": ["7", 8, 9.0]}) == {"a": [7, 8, 9]}


@pytest.mark.parametrize(
    ("types", "value", "expected"),
    [
        (["string", "integer"], "7", "7"),
        (["string", "integer"], 7, 7),
        (["integer", "string"], True, "true"),
        (["boolean", "number"], "true", True),
        (["boolean", "number"], "1.5", 1.5),
        (["null", "string"], None, None),
        (["number", "string"], 7, 7),
        ("number", "7", 7),
        ("integer", 7.0, 7),
    ],
)
def test_what_fits_one_of_several_types_is_left_alone_else_the_first_that_it_can_be(
    types: Any, value: Any, expected: Any
) -> None:
    found = fit({"type": types})(value)
    assert (found, type(found)) == (expected, type(expected))


def test_a_choice_among_several_is_not_guessed() -> None:
    convert = fit({"anyOf": [INTEGER, {"type": "boolean"}]})
    with pytest.raises(InvalidRequest):
        convert("7")


def test_schemas_that_contain_themselves_are_read_as_deep_as_the_value() -> None:
    tree = {"properties": {"n": INTEGER, "next": {"$ref": "#"}, "kind": {"default": "leaf"}}, "allOf": [{"$ref": "#"}]}
    assert fit(tree)({"n": "1", "next": {"n": "2"}}) == {"n": 1, "kind": "leaf", "next": {"n": 2, "kind": "leaf"}}


def test_a_default_stands_beside_a_reference_or_behind_it() -> None:
    there: dict[str, Any] = {"$defs": {"d": {"default": 1}}, "properties": {"a": {"$ref": "#/$defs/d", "default": 2}}}
    there["properties"]["b"] = {"$ref": "#/$defs/d"}
    assert fit(there)({}) == {"a": 2, "b": 1}


def test_defaults_that_make_a_value_enormous_are_not_put_in() -> None:
    convert = fit({"items": {"properties": {"a": {"default": "x" * 60_000}}}})
    with pytest.raises(InvalidRequest) as refused:
        convert([{}] * 100_000)
    assert refused.value.reason is Reason.STEP_INPUT_INVALID
