"""Schemas that callers wrote, and values that models made."""

from __future__ import annotations

import json
from collections.abc import Callable
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


def twice(reference: str) -> dict[str, Any]:
    return {"anyOf": [{"$ref": reference}, {"$ref": reference, "title": "x"}]}


def chain(key: str, link: Callable[[int], Any], **more: Any) -> dict[str, Any]:
    """Sixty schemas that ask for the next, which is doubled with each; the last is plain."""
    parts = {f"d{index}": link(index + 1) for index in range(60)}
    return {"$ref": f"#/{key}/d0", key: {**parts, "d60": {"type": "string"}}, **more}


OLD = "http://json-schema.org/draft-07/schema#"
DOUBLING: dict[str, dict[str, Any]] = {
    "pointers": chain("$defs", lambda after: twice(f"#/$defs/d{after}")),
    "percent": chain("$defs", lambda after: twice(f"#/%24defs/d{after}")),
    "dependencies": chain(
        "definitions", lambda after: {"dependencies": {"a": twice(f"#/definitions/d{after}")}}, **{"$schema": OLD}
    ),
    "dependentSchemas": chain("$defs", lambda after: {"dependentSchemas": {"a": twice(f"#/$defs/d{after}")}}),
    "additionalItems": chain(
        "definitions",
        lambda after: {"items": [{}], "additionalItems": twice(f"#/definitions/d{after}")},
        **{"$schema": OLD},
    ),
    "propertyNames": chain("$defs", lambda after: {"propertyNames": twice(f"#/$defs/d{after}")}),
    "if": chain("$defs", lambda after: {"if": {"$ref": f"#/$defs/d{after}"}, "else": {"$ref": f"#/$defs/d{after}"}}),
    "elsewhere": chain("elsewhere", lambda after: twice(f"#/elsewhere/d{after}")),
    "within a circle": chain(
        "$defs", lambda after: {**twice(f"#/$defs/d{after}"), "properties": {"a": {"$ref": "#/$defs/d0"}}}
    ),
    "a circle against the order": {
        "allOf": [{"$ref": "#/$defs/d30"}, {"$ref": "#/$defs/d0"}],
        "$defs": {
            f"d{index}": {**twice(f"#/$defs/d{(index + 1) % 31}"), "properties": {"a": {"$ref": f"#/$defs/d{index}"}}}
            for index in range(31)
        },
    },
    "each to all": {
        "$ref": "#/$defs/d0",
        "$defs": {
            f"d{index}": {"allOf": [{"properties": {"a": {"$ref": f"#/$defs/d{other}"}}} for other in range(30)]}
            for index in range(30)
        },
    },
}


@pytest.mark.parametrize("doubling", DOUBLING.values(), ids=DOUBLING)
def test_references_that_double_with_each_step_are_refused(doubling: dict[str, Any]) -> None:
    with pytest.raises(SchemaInvalid, match="larger than"):
        schema(doubling)


NAMED = {"$ref": "#/$defs/b", "$defs": {"b": True}}


@pytest.mark.parametrize(
    "bad",
    [
        chain("$defs", lambda after: {"$anchor": f"d{after - 1}", **twice(f"#d{after % 60}")}),
        {"$defs": {"a": {"$id": "urn:a", **NAMED}}, "$ref": "#/$defs/a"},
        {"$ref": "#/$defs/b", "$defs": {"a": {"$id": "json-schema:///", "$defs": {"b": False}}, "b": True}},
        {"$schema": "http://json-schema.org/draft-04/schema#", "not": {"id": "urn:a"}},
        {"not": {"$schema": "http://json-schema.org/draft-04/schema#", "id": "urn:a"}},
        {"$id": "urn:a", "$ref": "urn:a#/$defs/b", "$defs": {"b": True}},
        {"$dynamicRef": "#a", "$dynamicAnchor": "a"},
        {"$schema": "https://json-schema.org/draft/2019-09/schema", "not": {"$recursiveRef": "#"}},
        {"allOf": [{"unevaluatedProperties": False}]},
        {"allOf": [{"unevaluatedItems": False}]},
        {"$ref": "#/$defs/a%2Fb", "$defs": {"a/b": True, "a": {"b": True}}},
        {"$ref": "#/$defs/%ff", "$defs": {"\ufffd": True}},
        {"$ref": 5},
    ],
)
def test_other_references_than_to_a_place_within_it_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(SchemaInvalid):
        schema(bad)


def test_properties_may_have_the_names_of_keywords() -> None:
    names = ["$id", "$ref", "$anchor", "unevaluatedItems", "id", "$schema", "items"]
    named = schema({"$id": "urn:a", "properties": {name: {"type": "null"} for name in names}})
    assert named.fault(dict.fromkeys(names)) is None
    for name in names:
        found = named.fault({name: 1})
        assert found is not None
        assert found[0].removeprefix("$").strip('.[]"') == name


def test_a_reference_may_be_written_with_percent_signs() -> None:
    named = schema({"properties": {"k": {"$ref": "#/%24defs/a%20b~1"}}, "$defs": {"a b/": {"type": "null"}}})
    assert named.fault({"k": None}) is None
    assert named.fault({"k": 1}) == ("$.k", 'does not match `type`: "null"')


@pytest.mark.parametrize(
    ("costly", "value"),
    [
        ({"items": {"allOf": [{"type": "integer"}] * 5000}}, [1] * 5000),
        ({"patternProperties": {f"a{number}$": {} for number in range(3000)}}, {f"k{n}": n for n in range(5000)}),
        ({"items": {"enum": [[number] for number in range(8000)]}}, [[7999]] * 5000),
        ({"items": {"required": [f"k{number}" for number in range(5000)]}}, [{"k0": 0}] * 5000),
        ({"allOf": [{"pattern": f"(a|b{number}?){{60}}c"} for number in range(300)]}, "ab" * 100_000),
    ],
)
def test_a_value_that_would_hold_up_everybody_is_not_checked(costly: dict[str, Any], value: Any) -> None:
    found = schema(costly).fault(value)
    assert found is not None
    assert "too large" in found[1]


def test_plain_schemas_take_values_of_any_size() -> None:
    fields = {f"field{number}": {"type": "integer"} for number in range(100)}
    rows = schema({"items": {"properties": fields, "required": ["field0"], "additionalProperties": False}})
    assert rows.fault([{"field0": number, "field7": number} for number in range(30_000)]) is None
    assert schema({"items": {"type": "integer"}}).fault([1] * 500_000) is None
    uuid = schema({"items": {"pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}})
    assert uuid.fault(["01234567-0123-0123-0123-0123456789ab"] * 20_000) is None


def test_the_one_that_does_not_match_is_found_among_many() -> None:
    numbers = schema({"items": {"type": "integer"}})
    for bad in (0, 1, 77_777, 99_999):
        value: list[Any] = [1] * 100_000
        value[bad] = "x"
        found = numbers.fault(value)
        assert found is not None
        assert found[0] == f"$[{bad}]"
    named = schema({"additionalProperties": {"type": "integer"}})
    found = named.fault({f"k{number}": number if number != 555 else None for number in range(1000)})
    assert found is not None
    assert found[0] == "$.k555"


def test_a_fault_in_a_schema_of_many_equal_parts_is_found_without_compiling_each() -> None:
    large = {"properties": {f"p{number}": {"minLength": number} for number in range(900)}}
    many = {"allOf": [{"$ref": "#/$defs/large"}] * 900, "not": {}, "$defs": {"large": large}}
    assert schema(many).fault({"p1": "long"}) == ("$", "does not match `not`")


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
