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


NAN, HUGE = float("nan"), 10**400


@pytest.mark.parametrize("beside", [0, 0.5, True, "x", None, []])
@pytest.mark.parametrize(
    "bad", [NAN, float("inf"), -float("inf"), 2**53, -(2**53), 1e300, HUGE, "\0", "\ud800", b"raw", {"a": "\0"}]
)
@pytest.mark.parametrize("at", [0, 1, 50, 99])
def test_one_fault_among_many_that_are_well_is_found(beside: object, bad: object, at: int) -> None:
    value = [beside] * 100
    value[at] = bad
    found = fault({"m": value}, max_depth=3)
    assert found is not None
    assert found[0].startswith(f"m[{at}]")


@pytest.mark.parametrize("first", [NAN, 1, 0.5])
def test_one_that_is_no_number_hides_none_that_is_too_large(first: object) -> None:
    assert fault([first, NAN, *[1] * 50, HUGE], max_depth=1) is not None
    assert fault([HUGE, *[1] * 50, NAN], max_depth=1) is not None


@pytest.mark.parametrize("halves", [["\ud83d", "\ude00"] * 20, ["x"] * 20 + ["\ud83d", "\ude00"]])
def test_two_halves_in_two_texts_are_two_faults(halves: list[str]) -> None:
    assert fault(halves, max_depth=1) is not None


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
