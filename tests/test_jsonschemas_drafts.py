"""Schemas of every draft: whatever one says, a fault is found exactly where the engine finds one, and named."""

from __future__ import annotations

import gc
import json
import random
import weakref
from typing import Any

import jsonschema_rs
import pytest

from stepwired import jsonschemas
from stepwired.jsonschemas import Schema, SchemaInvalid

DRAFTS = [
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
]
OLD, SEVEN = DRAFTS[0], DRAFTS[2]
PAIR = [{"type": "string"}, {"type": "number"}]


def schema(said: dict[str, Any]) -> Schema:
    return Schema(json.dumps(said).encode())


@pytest.mark.parametrize(
    ("said", "value", "at", "why"),
    [
        ({"$schema": OLD, "properties": {"n": {"minimum": 1, "exclusiveMinimum": True}}}, {"n": 1}, "$.n", "schema"),
        ({"$schema": OLD, "properties": {"n": {"minimum": 1, "exclusiveMinimum": True}}}, {"n": 0}, "$.n", "minimum"),
        ({"$schema": SEVEN, "properties": {"l": {"items": PAIR}}}, {"l": ["a", "b"]}, "$.l[1]", "type"),
        ({"$schema": SEVEN, "items": PAIR, "additionalItems": False}, ["a", 1, 2], "$[2]", "is not allowed"),
        ({"$schema": SEVEN, "items": PAIR, "additionalItems": {"maxLength": 1}}, ["a", 1, "bc"], "$[2]", "maxLength"),
        ({"$schema": SEVEN, "items": {"type": "null"}}, [None, 1], "$[1]", "type"),
        ({"$schema": OLD, "properties": {"n": {"const": 1, "type": "string"}}}, {"n": 2}, "$.n", "type"),
        # What stands beside a reference is ignored up to draft 7, whatever it is.
        (
            {"$schema": SEVEN, "$ref": "#/definitions/a", "properties": 7, "definitions": {"a": {"type": "null"}}},
            {},
            "$",
            "type",
        ),
    ],
)
def test_older_drafts_say_it_otherwise_and_their_faults_are_named_all_the_same(
    said: dict[str, Any], value: Any, at: str, why: str
) -> None:
    try:
        compiled = schema(said)
    except SchemaInvalid:
        assert said.get("properties") == 7  # refused at once is as good
        return
    found = compiled.fault(value)
    assert found is not None
    assert (found[0], why in found[1]) == (at, True), found


def any_schema(chance: random.Random, draft: str, depth: int = 3) -> Any:
    """A schema of a draft, of parts that drafts tell apart most of all."""
    if depth == 0 or chance.random() < 0.2:
        return chance.choice(
            [{}, {"type": "string"}, {"type": ["number", "null"]}, {"enum": ["a", 1]}, {"maxLength": 1}]
        )

    def below() -> Any:
        return any_schema(chance, draft, depth - 1)

    is_newest = draft == DRAFTS[-1]
    said: dict[str, Any] = {}
    for keyword in chance.sample(["items", "properties", "bounds", "allOf", "anyOf", "not", "$ref", "odd", "if"], 3):
        match keyword:
            case "items":
                several = [below(), below()]
                said |= {"prefixItems": several, "items": below()} if is_newest else {"items": several}
                said |= {} if is_newest else {"additionalItems": chance.choice([below(), False])}
            case "properties":
                said |= {"properties": {"a": below(), "b/~": below()}, "additionalProperties": below()}
            case "bounds":
                said |= {"minimum": 1, "exclusiveMinimum": True if draft == OLD else 1}
            case "allOf" | "anyOf":
                said[keyword] = [below(), below()]
            case "not" | "if":
                said |= {keyword: below(), **({"then": below()} if keyword == "if" else {})}
            case "$ref":
                said["$ref"] = chance.choice(["#/definitions/one", "#/definitions/b~1~0", "#"])
            case "odd":  # of other drafts than some
                said |= chance.choice([{"prefixItems": [below()]}, {"const": "a"}, {"contains": below()}])
    return said


def any_value(chance: random.Random, depth: int = 3) -> Any:
    if depth == 0 or chance.random() < 0.3:
        return chance.choice([None, True, 0, 1, 2.5, "", "a", "ab"])
    if chance.random() < 0.5:
        return [any_value(chance, depth - 1) for _ in range(chance.randrange(4))]
    return {name: any_value(chance, depth - 1) for name in chance.sample(["a", "b/~", "c"], chance.randrange(4))}


@pytest.mark.parametrize("draft", DRAFTS)
def test_a_fault_is_found_exactly_where_there_is_one_and_finding_it_never_fails(draft: str) -> None:
    chance = random.Random(draft)
    faults = 0
    for _ in range(150):
        said = any_schema(chance, draft)
        said = {"$schema": draft, "definitions": {name: any_schema(chance, draft, 2) for name in ("one", "b/~")}} | said
        try:
            compiled = schema(said)
        except SchemaInvalid:
            continue
        engine = jsonschema_rs.validator_for(said)
        for _ in range(10):
            value = any_value(chance)
            found = compiled.fault(value)
            if found is not None and "too large" in found[1]:
                continue
            assert (found is None) is engine.is_valid(value), (said, value)
            faults += found is not None
    assert faults > 100


def test_what_is_compiled_to_find_a_fault_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Any]] = []
    plain = jsonschemas._validator_of

    class Seen:
        def __init__(self, validator: Any) -> None:
            self.is_valid = validator.is_valid
            made.append(weakref.ref(self))

    monkeypatch.setattr(jsonschemas, "_validator_of", lambda *given, **more: Seen(plain(*given, **more)))
    names = [f"k{place}" for place in range(50)]
    compiled = schema({"properties": {name: {"properties": {name: {"type": "null"}}} for name in names}})
    value: Any = {name: {} for name in names}
    value[names[-1]] = {names[-1]: 1}
    assert compiled.fault(value) == ("$.k49.k49", 'does not match `type`: "null"')
    gc.collect()
    assert len(made) > 50
    assert sum(each() is not None for each in made) == 1  # the schema itself
