"""What JSON can carry: each fault is found, and named by its place."""

from __future__ import annotations

import pytest

from stepwired.jsonvalue import fault, parse


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, {"b": float("nan")}]}, "m.a[1].b"),
        ([[["x", "\0"]]], "m[0][0][1]"),
        ({"a": {"\0": 1}}, "m.a"),
        ({"a": {1: 1}}, "m.a"),
        ({"a": [2**53]}, "m.a[0]"),
        (b"raw", "m"),
        ([[[[[1]]]]], "m[0][0][0][0]"),
    ],
)
def test_a_fault_is_named_by_its_place(value: object, path: str) -> None:
    found = fault(value, max_depth=4, path="m")
    assert found is not None
    assert found[0] == path
    assert found[1]


def test_without_a_place_the_first_key_has_no_dot() -> None:
    found = fault({"a": {"b": "\0"}}, max_depth=4)
    assert found is not None
    assert found[0] == "a.b"


def test_what_is_well_has_no_fault() -> None:
    assert fault({"a": [None, True, 1, 0.5, "é", {}, []]}, max_depth=3) is None


@pytest.mark.parametrize(
    "written", ["", "{", "nul", "NaN", "[Infinity]", '{"a":-Infinity}', '{"a":1,"a":2}', '[{"b":{"a":1,"a":1}}]', "1 2"]
)
def test_what_is_read_is_json_and_has_each_key_once(written: str) -> None:
    with pytest.raises(ValueError, match=r"no JSON|key twice"):
        parse(written)


def test_what_is_read_may_be_bytes_and_is_refused_where_it_is_too_deep_or_no_utf8() -> None:
    assert parse(b'{"a":[1,2.5,null,true,"\xc3\xa4"]}') == {"a": [1, 2.5, None, True, "ä"]}
    with pytest.raises(ValueError, match="too deep"):
        parse("[" * 100_000)
    with pytest.raises(ValueError, match="UTF-8"):
        parse(b'"\xff"')
