"""Reads the cases: what is called, and what has to come back. `cases/README.md` says how one is written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[1] / "cases"
EXCUSES = FOLDER.parent / "excuses.yaml"

REAL, SCRIPTED, OWN = "real", "scripted", "own"


class _Loader(yaml.CSafeLoader):
    """YAML 1.2: `no` and `on` are texts, `1e3` is a number, and nothing is a date."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - so the base has it


for _tag, _regex, _first in (
    ("null", r"null|~|", ["n", "~", ""]),
    ("bool", r"true|false", ["t", "f"]),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?|\.nan|-?\.inf", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_regex})$"), _first)


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        name: What it is called in the table.
        says: What it shows, in a sentence.
        do: Its steps.
        server: `real`, the one that all cases share; `scripted`, which says `answers`; `own`, one that it may end.
        answers: What the scripted server answers.
    """

    name: str
    says: str
    do: Sequence[Mapping[str, Any]]
    server: str = REAL
    answers: Sequence[dict[str, Any]] = ()

    def methods(self) -> Iterator[str]:
        """List what it calls, as it is written in the case."""
        todo = list(self.do)
        while todo:
            step = todo.pop(0)
            yield from (step[key] for key in ("call", "begin") if key in step)
            todo += step.get("together", ())


@dataclass(frozen=True, slots=True)
class Excuse:
    """Why a language cannot pass some cases.

    Attributes:
        reason: What lies in its library.
        seen: How these cases fail then, word for word; any other failure is not excused.
    """

    language: str
    cases: Sequence[str]
    reason: str
    seen: str


@dataclass(frozen=True, slots=True)
class Book:
    """All cases, by name, and all excuses."""

    cases: Mapping[str, Case]
    excuses: Sequence[Excuse] = field(default_factory=tuple)

    def excuse(self, language: str, case: str) -> Excuse | None:
        """Find why this cell may fail; None if it may not."""
        return next((each for each in self.excuses if each.language == language and case in each.cases), None)


def load() -> Book:
    """Read all of them."""
    cases: dict[str, Case] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        for given in yaml.load(path.read_text("utf-8"), _Loader):
            case = Case(**given)
            assert case.name not in cases, f"two cases are called {case.name}"
            cases[case.name] = case
    excuses = tuple(Excuse(**given) for given in yaml.safe_load(EXCUSES.read_text("utf-8")) or ())
    for excuse in excuses:
        assert excuse.reason, excuse
        assert excuse.seen, excuse
        assert set(excuse.cases) <= set(cases), excuse
    return Book(cases, excuses)
