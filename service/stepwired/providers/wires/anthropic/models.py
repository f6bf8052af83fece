"""What the models of the Anthropic wire can be told about thinking and formats, as a table: servers refuse the rest.

From Anthropic's pages on extended and adaptive thinking, effort and structured outputs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

DEFAULT_MAX_TOKENS = 4096
"""Most tokens of a reply where neither the caller nor the catalogue says how many: the wire insists on a number, and
each of its models writes as many. Thinking that is paid for in tokens comes on top."""

MIN_BUDGET = 1024
BUDGETS = {"minimal": MIN_BUDGET, "low": 4096, "medium": 10_000, "high": 24_000, "xhigh": 32_000}
"""Tokens to think with, of models that know no words for it: our reading of the words."""

_ALL = frozenset({"low", "medium", "high", "xhigh"})


@dataclass(frozen=True, slots=True)
class Traits:
    """What a family of models understands."""

    thinking: Literal["", "budget", "adaptive"] = ""
    """Told by a number of tokens, or by words; empty: not at all."""

    efforts: frozenset[str] = frozenset()
    """The words, if it is told by words."""

    has_schemas: bool = False
    """Whether it can be held to a JSON Schema; if not, a tool that has to be called does it."""


_FAMILIES = tuple(
    (re.compile(name), traits)
    for name, traits in (
        (r"claude-(?:instant|v?2|3-5|3-(?:haiku|sonnet|opus))", Traits()),
        (r"claude-3-7|claude-(?:opus|sonnet)-4(?:-[01](?!\d)|[-@]20\d{6}|$)", Traits("budget")),
        (r"claude-(?:opus|sonnet|haiku)-4-5", Traits("budget", has_schemas=True)),
        (r"claude-(?:opus|sonnet)-4-6", Traits("adaptive", _ALL - {"xhigh"}, has_schemas=True)),
        (r"claude-", Traits("adaptive", _ALL, has_schemas=True)),
        (r"", Traits("budget")),  # models of others, who copied the older way
    )
)


def traits_of(model: str) -> Traits:
    """Those of the first family whose name is part of the model's."""
    return next(traits for name, traits in _FAMILIES if name.search(model))
