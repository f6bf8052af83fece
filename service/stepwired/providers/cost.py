"""What a call costs, by the price table."""

from __future__ import annotations

from dataclasses import replace

from stepwired.events import Price, Usage


def priced(usage: Usage, price: Price | None) -> Usage:
    """The usage with its cost in US dollars, unless the provider said what it was.

    It stays unknown where a price or a count is missing that it depends on: half a sum is no sum.
    """
    if price is None or usage.cost_usd is not None or usage.input_tokens is None or price.input is None:
        return usage
    cached = min(usage.cached_input_tokens or 0, usage.input_tokens)
    dollars = (usage.input_tokens - cached) * price.input
    dollars += cached * (price.input if price.cached_input is None else price.cached_input)
    if usage.output_tokens:
        if price.output is None:
            return usage
        dollars += usage.output_tokens * price.output
    return replace(usage, cost_usd=dollars / 1e6)
