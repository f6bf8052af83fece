"""JSON and YAML as people write them: their values, and the line in which each stands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from typing import Any, NoReturn

import yaml

MAX_VALUES = 200_000
"""Values of one document, those counted again that an alias of YAML repeats: few bytes could else become terabytes."""

_LONG_NUMBER = "a number has thousands of digits: put it in quotes if it is meant as a text"
_INDEX = re.compile(r"\[([0-9]{1,9})\]")
_TAG = "tag:yaml.org,2002:"
_PLAIN = [f"{_TAG}{name}" for name in ("str", "bool", "null", "int", "float", "map", "seq")]


class DocumentError(Exception):
    """A text is no JSON, or no YAML, that can be used. `str()` of it says why.

    Attributes:
        line: Where, from 1; 0 if that is not known.
    """

    def __init__(self, why: str, line: int = 0) -> None:
        super().__init__(why)
        self.line = line


class Document:
    """A text and the value it says: lists, objects with texts as keys, texts, numbers, booleans and null.

    Args:
        text: What was written.
        name: A name that ends in `.json` says that it is JSON, in `.yaml` or `.yml` that it is YAML. Under any other,
            what is no JSON is YAML.

    Raises:
        DocumentError: It is neither, has a key twice, or is nested too deep or too large.
    """

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        lower = name.lower()
        try:
            if lower.endswith(".json") or (not lower.endswith((".yaml", ".yml")) and _is_json(text)):
                self.value: Any = _json(text)
            else:
                self.value = _yaml(text)
        except RecursionError:
            raise DocumentError("nested too deep") from None
        _check_size(self.value)

    def line(self, path: str) -> int:
        """The line of a value, from 1, or of the nearest above it; 0 if nobody knows.

        Args:
            path: As in `steps[1].map.step`.
        """
        return max((line for line, _ in self._nodes(path)), default=0)

    def written(self, path: str) -> str:
        """A number as it was written: 1.10 is not 1.1."""
        nodes = [node for _, node in self._nodes(path)]
        if nodes and isinstance(nodes[-1], yaml.ScalarNode):
            return str(nodes[-1].value)
        with suppress(ValueError):
            return _text_in_json(self._text, path)  # JSON that is no YAML, as with tabs
        return str(self.value[path])  # merged from elsewhere

    @cached_property
    def _root(self) -> yaml.Node | None:
        with suppress(yaml.YAMLError, RecursionError):  # nearly all JSON is YAML
            return yaml.compose(self._text, _Loader)
        return None

    def _nodes(self, path: str) -> Iterator[tuple[int, yaml.Node]]:
        """The values on the way to one, as far as there are, each with its line."""
        node = self._root
        if node is None:
            return
        yield node.start_mark.line + 1, node
        for part in filter(None, path.replace("[", ".[").split(".")):
            at, node = _inside(node, part)
            if node is None:
                return
            yield at, node


def _inside(node: yaml.Node, part: str) -> tuple[int, yaml.Node | None]:
    """The value of a key, or the item `[n]`, with the line where it begins."""
    if isinstance(node, yaml.SequenceNode) and (index := _INDEX.fullmatch(part)):
        for item in node.value[int(index[1]) :][:1]:
            return item.start_mark.line + 1, item
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key.start_mark.line + 1, value
    return 0, None


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_int=float)
    except ValueError:
        return False
    return True


def _json(text: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            twice = next(key for index, (key, _) in enumerate(pairs) if key in dict(pairs[:index]))
            raise DocumentError(f"`{twice}` stands twice in one object")
        return made

    def refuse(word: str) -> NoReturn:
        raise DocumentError(f"{word} is no JSON")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise DocumentError(f"no JSON: {error.msg}", error.lineno) from None
    except ValueError:  # Python reads no integer of thousands of digits
        raise DocumentError(_LONG_NUMBER) from None


def _text_in_json(text: str, name: str) -> str:
    """The number of a name in an object of JSON, as it is written there."""
    said = json.loads(text, parse_int=str, parse_float=str)
    return str(said[name])


def _yaml(text: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # noqa: S506  # a SafeLoader of ours
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise DocumentError(f"no YAML: {error.problem or error.context}", mark.line + 1 if mark else 0) from None
    except yaml.YAMLError as error:
        raise DocumentError(f"no YAML: {' '.join(str(error).split())}") from None
    except ValueError:
        raise DocumentError(_LONG_NUMBER) from None


def _check_size(value: Any) -> None:
    count = 0
    waiting = [value]
    while waiting:
        each = waiting.pop()
        count += 1
        if count + len(waiting) > MAX_VALUES:
            raise DocumentError(f"more than {MAX_VALUES} values, those counted again that an alias repeats")
        if isinstance(each, list | dict):
            waiting += each.values() if isinstance(each, dict) else each


class _Loader(yaml.SafeLoader):
    """YAML whose scalars mean what they mean in JSON: `on`, `0x1F` and `2024-01-01` are texts. Keys are texts."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(problem="a key is no text", problem_mark=key.start_mark)
            if key.tag != f"{_TAG}merge":
                if key.value in seen:
                    problem = f"`{key.value}` stands twice in one object"
                    raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
                seen.add(key.value)
                key.tag = f"{_TAG}str"
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


_Loader.yaml_constructors = {
    **{tag: yaml.SafeLoader.yaml_constructors[tag] for tag in _PLAIN},
    None: yaml.SafeLoader.yaml_constructors[None],
}
_Loader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in (
    ("bool", r"true|false", [*"tf"]),
    ("null", r"null|~|", ["n", "~", ""]),
    ("int", r"-?(?:0|[1-9][0-9]*)", [*"-0123456789"]),
    ("float", r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", [*"-0123456789"]),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(rf"^(?:{_pattern})$"), _first)


class _Dumper(yaml.SafeDumper):
    """Quotes what any reader of YAML might take for something else than a text."""


_Dumper.yaml_implicit_resolvers = {
    first: [*yaml.SafeDumper.yaml_implicit_resolvers.get(first, []), *_Loader.yaml_implicit_resolvers.get(first, [])]
    for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
}


def dump(value: Any) -> str:
    """Write JSON as YAML, keys in their order, texts of several lines as such."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(f"{_TAG}str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
