from __future__ import annotations

from typing import Any

import pytest

from clients.conformance.runner.matching import differences


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}, "d": 3}),
        ({"a": None}, {}),
        ([1, 2], [1, 2]),
        (["..."], []),
        ([1, "...", 4], [1, 2, 3, 4]),
        (["...", {"x": 1}, "..."], [{}, {"x": 1}]),
        (5, "5"),
        (0.1, 0.10000000149011612),
        (1, 1.0),
        ({"$any": True}, 0),
        ({"$matches": "^a.c$"}, "abc"),
        ({"$length": 2}, "ab"),
        ({"$bytes": 1}, "AA=="),
        ({"$least": 2}, 2),
        ({"$all": {"a": 1}}, [{"a": 1}, {"a": 1, "b": 2}]),
        ({"$either": [None, "x"]}, "x"),
        ({"$either": [None, "x"]}, None),
        ({"a": {"$either": ["x", None]}}, {}),
        ({"$not": 1}, 2),
        ({"$exactly": {"a": [1.0]}}, {"a": [1.0]}),
        ({"$exactly": {"a": [1, None]}}, {"a": [1.0, None]}),
    ],
)
def test_what_matches(expected: Any, actual: Any) -> None:
    assert differences(expected, actual) == []


@pytest.mark.parametrize(
    ("expected", "actual", "told"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b: expected 1, got 2"),
        ({"a": None}, {"a": 0}, "a: expected None, got 0"),
        ({"a": 1}, None, "value: expected {'a': 1}, got None"),
        ([1, 2], [1], "1 items in place of 2"),
        ([{"a": 1}], [{"a": 2}], "[0].a: expected 1, got 2"),
        ([1, "...", 4], [1, 2], "expected [1, '...', 4]"),
        (["..."], "text", "expected ['...']"),
        (True, 1, "expected True, got 1"),
        (0.1, 0.2, "expected 0.1, got 0.2"),
        ({"$any": True}, None, "got None"),
        ({"$matches": "^a$"}, "ab", "got 'ab'"),
        ({"$length": 2}, "abc", "got 'abc'"),
        ({"$all": 1}, [1, 2], "[1]: expected 1, got 2"),
        ({"$all": {"$any": True}}, [], "got []"),
        ({"$all": {"$any": True}}, None, "got None"),
        ({"$all": 1}, "1", "got '1'"),
        ({"$either": [1, 2]}, 3, "got 3"),
        ({"$either": [1, 2]}, None, "got None"),
        ({"$not": 1}, None, "got None"),
        ({"$length": 1}, 5, "got 5"),
        ({"$least": 1}, "many", "got 'many'"),
        ({"$exactly": True}, 1, "got 1"),
        ({"$exactly": {"a": [0]}}, {"a": [False]}, "got {'a': [False]}"),
        ({"$exactly": [1, 2]}, [1], "got [1]"),
        ({"$exactly": {"a": 1}}, {"a": 1, "b": 2}, "got {'a': 1, 'b': 2}"),
    ],
)
def test_what_does_not_match_is_told_with_its_place(expected: Any, actual: Any, told: str) -> None:
    [fault] = differences(expected, actual)
    assert told in fault
