"""Schemas that callers wrote, and values that models made."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwired.jsonschemas import Schema, SchemaInvalid, compiled, place

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "a/b": {"$ref": "#/$defs/age"},
        "ü %23": {"$ref": "#/$defs/age"},
        "tags": {"type": "array", "items": {"enum": ["x", "y"]}},
        "pair": {"prefixItems": [{"type": "integer"}, {"type": "string"}], "items": {"type": "null"}},
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"age": {"type": "integer", "minimum": 0}},
}


def schema(value: Any) -> Schema:
    return Schema(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("value", "at", "why"),
    [
        ({"name": ""}, "$.name", "minLength"),
        ({"name": 7}, "$.name", "type"),
        ({}, "$", 'required`: ["name"]'),
        ([], "$", "type"),
        ({"name": "n", "a/b": -1}, '$["a/b"]', "minimum"),
        ({"name": "n", "tags": ["x", "z"]}, "$.tags[1]", "enum"),
        ({"name": "n", "pair": [1, 2]}, "$.pair[1]", "type"),
        ({"name": "n", "pair": [1, "a", None, 5]}, "$.pair[3]", "type"),
        ({"name": "n", "either": []}, "$.either", "anyOf"),
        ({"name": "n", "more": 1}, "$.more", "not allowed"),
        ({"name": "n", "ü %23": "x"}, '$["\\u00fc %23"]', "integer"),
    ],
)
def test_a_fault_is_told_by_its_place_and_by_what_the_schema_wants(value: Any, at: str, why: str) -> None:
    found = schema(PERSON).fault(value)
    assert found is not None
    assert found[0] == at
    assert why in found[1]


def test_what_matches_has_no_fault() -> None:
    value: Any = {"name": "n", "a/b": 3, "tags": [], "pair": [1, "a", None], "either": 5}
    assert schema(PERSON).fault(value) is None
    assert schema(True).fault({}) is None
    assert schema({}).fault([1]) is None


def test_what_is_wrong_is_told_without_the_value() -> None:
    found = schema({"properties": {"key": {"pattern": "^a+$"}}}).fault({"key": "a secret"})
    assert found == ("$.key", 'does not match `pattern`: "^a+$"')


@pytest.mark.parametrize(
    "bad",
    [
        [],
        7,
        "{}",
        {"type": "text"},
        {"properties": []},
        {"$ref": "http://127.0.0.1:1/schema"},
        {"$ref": "file:///etc/hostname"},
        {"$ref": "#/$defs/none"},
        {"$schema": "http://example.invalid/schema"},
        {"pattern": "(a)\\1"},
        {"pattern": "(?=a)b"},
        {"pattern": "((a{99}){99}){99}"},
        {"pattern": "("},
    ],
)
def test_what_is_no_schema_or_leaves_itself_is_refused(bad: Any) -> None:
    with pytest.raises(SchemaInvalid) as refused:
        schema(bad)
    assert 0 < len(str(refused.value)) <= 300


@pytest.mark.parametrize("written", [b"", b"{", b"nope", b"\xff", b'{"a":' * 5000])
def test_what_is_no_json_is_no_schema(written: bytes) -> None:
    with pytest.raises(SchemaInvalid):
        Schema(written)


def test_a_pattern_that_backtracks_elsewhere_takes_no_time_here() -> None:
    found = schema({"pattern": "^(a+)+$"}).fault("a" * 100_000 + "!")
    assert found is not None


def test_references_that_double_with_each_step_are_refused() -> None:
    parts: dict[str, Any] = {
        f"d{index}": {"anyOf": [{"$ref": f"#/$defs/d{index + 1}"}, {"$ref": f"#/$defs/d{index + 1}"}]}
        for index in range(60)
    }
    with pytest.raises(SchemaInvalid, match="larger than"):
        schema({"$ref": "#/$defs/d0", "$defs": parts | {"d60": {"type": "string"}}})


def test_a_schema_that_contains_itself_is_checked_as_deep_as_values_are() -> None:
    def operation(name: str) -> dict[str, Any]:
        properties = {"op": {"const": name}, "args": {"type": "array", "items": {"$ref": "#/$defs/any"}}}
        return {"type": "object", "properties": properties, "required": ["op", "args"]}

    tree = schema(
        {"$defs": {"any": {"anyOf": [operation("and"), operation("or"), {"type": "string"}]}}, "$ref": "#/$defs/any"}
    )
    good: Any = "a"
    bad: Any = 1
    for _ in range(15):
        good, bad = {"args": [good], "op": "or"}, {"args": [bad], "op": "or"}
    assert tree.fault(good) is None
    assert tree.fault(bad) == ("$", "does not match `anyOf`")


def test_equal_schemas_are_compiled_once() -> None:
    assert compiled(b'{"type":"null"}') is compiled(b'{"type":"null"}')


def test_a_place_names_keys_and_numbers() -> None:
    assert place([]) == "$"
    assert place(["items", 0, "a b", "x" * 99]) == '$.items[0]["a b"]["' + "x" * 64 + '"]'
