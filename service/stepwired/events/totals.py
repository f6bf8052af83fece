"""Adds up what models used."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from stepwired.events.usage import Usage, UsageSource

N = TypeVar("N", int, float)

#: A sum is as sure as the least sure part that says anything.
_LESS_SURE = [UsageSource.ABSENT, UsageSource.PROVIDER, UsageSource.ESTIMATED]


def total(one: Usage | None, other: Usage | None) -> Usage | None:
    """The usage of two calls together. A count that only one of them tells is that of both."""
    if one is None or other is None:
        return one or other
    return replace(
        one,
        source=max(one.source, other.source, key=_LESS_SURE.index),
        input_tokens=_both(one.input_tokens, other.input_tokens),
        output_tokens=_both(one.output_tokens, other.output_tokens),
        reasoning_tokens=_both(one.reasoning_tokens, other.reasoning_tokens),
        cached_input_tokens=_both(one.cached_input_tokens, other.cached_input_tokens),
        cost_usd=_both(one.cost_usd, other.cost_usd),
        is_corrected=one.is_corrected or other.is_corrected,
    )


def _both(one: N | None, other: N | None) -> N | None:
    return one if other is None else other if one is None else one + other
