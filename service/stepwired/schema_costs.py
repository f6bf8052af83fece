"""Bounds how long it takes to check a value against a JSON Schema that a caller wrote.

The engine follows references anew wherever they stand, so that a few hundred bytes could hold it for years. It is held
to those that lie within the schema, and these are counted. Those that lead back to where they stand it remembers for
each part of a value. It compiles each part once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from stepwired.events import Json

#: A schema asks at most so much of one part of a value, its references replaced by what they mean. Without references
#: the largest asks for half as much.
MOST_PARTS = 100_000

_CHARACTERS = 32
"""Of a text, that take as long as another value."""

_OTHER_REFERENCES = ("$dynamicRef", "$recursiveRef")
_AFTER_ALL = ("unevaluatedItems", "unevaluatedProperties")
_SAME_VALUE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies")
_ALL_BELOW = ("patternProperties", "additionalProperties", "propertyNames", "additionalItems", "contains")
_ONE_BELOW = ("properties", "prefixItems")  # each part of a value is held against one of these
_BY_NAME = ("dependentSchemas", "dependencies", "patternProperties", "properties")
_COUNTED = re.compile(r"(\)?)\{(\d+)(?:,(\d*))?\}")
_AMBIGUOUS = re.compile("%2f|%7e", re.IGNORECASE)

#: What a reference counts, by the target it leads to.
_Of = Callable[[Any], int]


class Unbounded(ValueError):
    """Nobody can say how long it would take to check something against it. The text says why."""


class Cost:
    """What a schema costs.

    Args:
        schema: As JSON says it.

    Attributes:
        parts: What it asks at most of one part of a value.
        size: How many schemas it is made of, each counted once.

    Raises:
        Unbounded: It refers to something by other means than its place within it.
        RecursionError: Too many references are chained.
    """

    def __init__(self, schema: Any) -> None:
        _check_names(schema)
        self._schema = schema
        self._targets: dict[int, Any] = {}
        self._leads: dict[int, list[int]] = {}
        self.size = 0
        self._collect(schema)
        self._known: dict[int, int] = {}
        for circle in _circles(self._leads):
            self._known.update(self._of_circle(circle))
        self.parts = self._known[id(schema)]

    def _collect(self, root: Any) -> None:
        """Find all that references lead to, beginning at the root."""
        waiting = [root]
        while waiting:
            target = waiting.pop()
            if id(target) in self._targets:
                continue
            self._targets[id(target)] = target
            found = [self._target(each) for each in self._references(target)]
            self._leads[id(target)] = [id(each) for each in found]
            waiting += found

    def _references(self, target: Any) -> Iterator[str]:
        waiting = [target]
        while waiting:
            schema = waiting.pop()
            if isinstance(schema, dict):
                self.size += 1
                _check_keywords(schema)
                if "$ref" in schema:
                    yield schema["$ref"]
                for keyword in (*_SAME_VALUE, *_ALL_BELOW, *_ONE_BELOW, "items"):
                    waiting += _schemas(schema, keyword)

    def _target(self, reference: str) -> Any:
        return part(self._schema, pointer_of(reference))

    def _of_circle(self, circle: list[int]) -> dict[int, int]:
        """What targets cost that lead to each other, or a single one."""
        inside = set(circle)

        def cost(target: Any) -> int:
            return 1 if id(target) in inside else self._known[id(target)]

        def leads_on(target: Any) -> int:
            return int(id(target) in inside)

        total = sum(self._weight(self._targets[each], cost, 1) for each in circle)
        # In whichever order the engine goes round, it passes each of them once on each way.
        ways = math.prod(max(1, self._weight(self._targets[each], leads_on, 0)) for each in circle)
        return dict.fromkeys(circle, min(total * ways * len(circle), 1 << 62))

    def _weight(self, schema: Any, of: _Of, each: int) -> int:
        """What a schema asks of one part of a value, and of what is below it.

        Args:
            schema: As far as it goes without references.
            of: What to count for a reference.
            each: What to count for a schema.
        """
        if not isinstance(schema, dict):
            return each
        weight = each and _own_weight(schema)
        if "$ref" in schema:
            weight += of(self._target(schema["$ref"]))
        for keyword in (*_SAME_VALUE, *_ALL_BELOW):
            weight += sum(self._weight(below, of, each) for below in _schemas(schema, keyword))
        for keyword in (*_ONE_BELOW, "items"):
            weight += max((self._weight(below, of, each) for below in _schemas(schema, keyword)), default=0)
        return weight


def parts_of(value: Json) -> int:
    """Count what a schema looks at: values, and long texts more than once. Cost: 30 ns a value."""
    count = 1
    waiting: list[Any] = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            count += len(each) + sum(map(len, each)) // _CHARACTERS
            each = each.values()
        elif isinstance(each, list):
            count += len(each)
        else:
            count += len(each) // _CHARACTERS if isinstance(each, str) else 0
            continue
        waiting += [below for below in each if isinstance(below, str | list | dict)]
    return count


def pointer_of(reference: str) -> str:
    """The place that a `$ref` means, nothing in it escaped by `%`."""
    return unquote(reference, errors="strict")


def part(schema: Any, pointer: str) -> Any:
    """What lies at a place of a schema, such as `#/$defs/a b`; None if nothing does."""
    for step in pointer.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(schema, dict):
            schema = schema.get(name)
        elif isinstance(schema, list) and name.isdecimal() and len(name) < 9 and int(name) < len(schema):
            schema = schema[int(name)]
        else:
            return None
    return schema


def _check_names(schema: Any) -> None:
    """Refuse parts with names of their own: what a place within them means would not be what it means in the whole.

    Raises:
        Unbounded: There is one.
    """
    is_old = isinstance(schema, dict) and "draft-04" in str(schema.get("$schema"))
    names = ("$id", "$schema", "id") if is_old else ("$id", "$schema")
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            for name in names:
                if isinstance(each.get(name), str) and each is not schema:
                    raise Unbounded(f"`{name}` can be used at the top only")
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each


def _check_keywords(schema: dict[str, Any]) -> None:
    for keyword in _OTHER_REFERENCES:
        if keyword in schema:
            raise Unbounded(f"`{keyword}` cannot be used: refer to a place within the schema, as in #/$defs/name")
    for keyword in _AFTER_ALL:
        if keyword in schema:
            raise Unbounded(f"`{keyword}` cannot be used: `additional{keyword.removeprefix('unevaluated')}` can")
    reference = schema.get("$ref", "#")
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        raise Unbounded("only references to a place within the schema are followed, as in #/$defs/name")
    if _AMBIGUOUS.search(reference):
        raise Unbounded("write / and ~ of a name as ~1 and ~0 in a reference, not with %")


def _schemas(schema: dict[str, Any], keyword: str) -> list[Any]:
    """The schemas that a keyword holds: one, a list of them, or some by name."""
    said = schema.get(keyword)
    if isinstance(said, list):
        return said
    if keyword in _BY_NAME and isinstance(said, dict):
        return list(said.values())
    return [] if said is None else [said]


def _own_weight(schema: dict[str, Any]) -> int:
    weight = 1
    for keyword in ("required", "enum"):
        if isinstance(several := schema.get(keyword), list):
            hard = several if keyword == "required" else [each for each in several if isinstance(each, dict | list)]
            weight += 3 * len(hard)
    if isinstance(needed := schema.get("dependentRequired", schema.get("dependencies")), dict):
        weight += sum(len(each) for each in needed.values() if isinstance(each, list))
    patterns = [schema.get("pattern")]
    if isinstance(named := schema.get("patternProperties"), dict):
        patterns += named
    return weight + sum(_pattern_weight(each) for each in patterns if isinstance(each, str))


def _pattern_weight(pattern: str) -> int:
    """How many states it may be in at once, roughly: each is looked at for each character."""
    length, times = len(pattern), 1
    for group, least, most in _COUNTED.findall(pattern):
        count = max(1, int((most or least)[:6]))
        if group:
            times = min(times * count, MOST_PARTS)
        else:
            length += count
    return length * times // 8


def _circles(leads: dict[int, list[int]]) -> Iterator[list[int]]:
    """Those that lead to each other, together; what they lead to comes before them (Tarjan's way)."""
    numbers: dict[int, int] = {}
    lowest: dict[int, int] = {}
    open_: list[int] = []
    is_open: set[int] = set()

    def visit(node: int) -> Iterator[list[int]]:
        numbers[node] = lowest[node] = len(numbers)
        open_.append(node)
        is_open.add(node)
        for after in leads[node]:
            if after not in numbers:
                yield from visit(after)
                lowest[node] = min(lowest[node], lowest[after])
            elif after in is_open:
                lowest[node] = min(lowest[node], numbers[after])
        if lowest[node] == numbers[node]:
            circle = open_[open_.index(node) :]
            del open_[-len(circle) :]
            is_open.difference_update(circle)
            yield circle

    for node in leads:
        if node not in numbers:
            yield from visit(node)
