"""Compares what came with what a case expects, and says where they differ.

The rules:

- An object matches if each of its keys does; keys that are not named may be there. `null` matches only what is absent.
- A list matches item by item. `"..."` in it stands for any number of items, also none.
- Numbers match if they are equal, as 32 bit floats where they have a fraction. Everything else has to be equal.
- `{$any: true}`: anything that is there. `{$matches: REGEX}`: a text in which it is found. `{$length: N}`: a text or
  list of this length. `{$bytes: N}`: base64 of so many bytes. `{$least: N}`, `{$most: N}`: a number. `{$all: PATTERN}`:
  a list of at least one item, of which each matches. `{$either: [PATTERN, …]}`: one of them, of which
  `null` is what is absent. `{$not: PATTERN}`: anything else that is there. `{$exactly: VALUE}`: equal, with no keys
  beside.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

REST = "..."
_SHOWN = 160


def differences(expected: Any, actual: Any, at: str = "") -> list[str]:
    """List where `actual` differs; empty if it matches."""
    if isinstance(expected, dict):
        if len(expected) == 1 and (check := _CHECKS.get(next(iter(expected)))):
            return check(next(iter(expected.values())), actual, at)
        return _of_object(expected, actual, at)
    if isinstance(expected, list):
        return _of_list(expected, actual, at)
    return [] if _equal(expected, actual) else [_told(at, expected, actual)]


def _of_object(expected: Mapping[str, Any], actual: Any, at: str) -> list[str]:
    if not isinstance(actual, Mapping):
        return [_told(at, expected, actual)]
    found = []
    for key, value in expected.items():
        found += differences(value, actual.get(key), f"{at}.{key}" if at else str(key))
    return found


def _of_list(expected: Sequence[Any], actual: Any, at: str) -> list[str]:
    if not isinstance(actual, Sequence) or isinstance(actual, str):
        return [_told(at, expected, actual)]
    if REST not in expected:
        if len(expected) != len(actual):
            return [f"{at}: {len(actual)} items in place of {len(expected)}: {_short(actual)}"]
        return [
            each
            for index, pair in enumerate(zip(expected, actual, strict=True))
            for each in differences(*pair, f"{at}[{index}]")
        ]
    return [] if _fits(expected, actual) else [_told(at, expected, actual)]


def _fits(expected: Sequence[Any], actual: Sequence[Any]) -> bool:
    """Whether the items can be laid upon each other, with anything where there is a rest."""
    if not expected:
        return not actual
    if expected[0] == REST:
        return any(_fits(expected[1:], actual[start:]) for start in range(len(actual) + 1))
    return bool(actual) and not differences(expected[0], actual[0]) and _fits(expected[1:], actual[1:])


def _equal(expected: Any, actual: Any) -> bool:
    if isinstance(expected, float) and isinstance(actual, int | float) and not isinstance(actual, bool):
        return math.isclose(expected, actual, rel_tol=1e-6, abs_tol=1e-9)
    if isinstance(expected, int) and not isinstance(expected, bool) and isinstance(actual, str):
        return str(expected) == actual  # JSON of protobuf has integers of 64 bits as texts
    if type(expected) is type(actual):
        return bool(expected == actual)
    return _both_numbers(expected, actual)


def _both_numbers(expected: Any, actual: Any) -> bool:
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (expected, actual))
    return numbers and expected == actual


def _check(passed: Callable[[Any, Any], bool]) -> Callable[[Any, Any, str], list[str]]:
    def check(expected: Any, actual: Any, at: str) -> list[str]:
        try:
            has_passed = actual is not None and passed(expected, actual)
        except (TypeError, ValueError):  # it is of another kind
            has_passed = False
        return [] if has_passed else [_told(at, expected, actual)]

    return check


def _all(pattern: Any, actual: Any, at: str) -> list[str]:
    if not isinstance(actual, list) or not actual:
        return [_told(at, {"$all": pattern}, actual)]
    return [fault for index, item in enumerate(actual) for fault in differences(pattern, item, f"{at}[{index}]")]


def _either(several: Any, actual: Any, at: str) -> list[str]:
    return [_told(at, several, actual)] if all(differences(each, actual) for each in several) else []


def _same(expected: Any, actual: Any) -> bool:
    """Whether both are the same JSON, in which `true` is not 1, but 1 is 1.0."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(_same(expected[key], actual[key]) for key in expected)
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(_same, expected, actual))
    return isinstance(expected, bool) == isinstance(actual, bool) and bool(expected == actual)


_CHECKS: Mapping[str, Callable[[Any, Any, str], list[str]]] = {
    "$any": _check(lambda _, actual: True),
    "$matches": _check(lambda regex, actual: isinstance(actual, str) and bool(re.search(regex, actual))),
    "$length": _check(lambda length, actual: len(actual) == length),
    "$bytes": _check(lambda size, actual: len(base64.b64decode(actual)) == size),
    "$least": _check(lambda least, actual: float(actual) >= least),
    "$most": _check(lambda most, actual: float(actual) <= most),
    "$all": _all,
    "$either": _either,
    "$not": _check(lambda pattern, actual: bool(differences(pattern, actual))),
    "$exactly": _check(_same),
}


def _told(at: str, expected: Any, actual: Any) -> str:
    return f"{at or 'value'}: expected {_short(expected)}, got {_short(actual)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 20]}… ({len(text)} characters)"
