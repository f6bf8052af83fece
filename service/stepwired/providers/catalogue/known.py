"""What some models can do and cost, as their vendors' pages said it in September 2025. What is not here is unknown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from stepwired.events import Price

AS_OF = "September 2025"
"""When the table was written. Prices change: one in the settings wins over it."""

_MONTH, _DAY = "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])"
_DATE = re.compile(f"-(?:20[0-9]{{2}}-{_MONTH}-{_DAY}|20[0-9]{{2}}{_MONTH}{_DAY}|{_MONTH}{_DAY})\\Z")
"""What vendors put behind a name: `-2024-11-20`, `-20250514` or `-0125`."""

_SEES = ("images", "tools", "json_schema")
_GPT = (*_SEES, "logprobs")
_THINKS = (*_SEES, "reasoning")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a model."""

    context_length: int
    max_output_tokens: int | None
    abilities: tuple[str, ...] | None
    price: Price


#: By the vendor's kind of endpoint and its name of the model.
_TABLE: Mapping[str, Mapping[str, Known]] = {
    "openai": {
        "gpt-3.5-turbo": Known(16_385, 4_096, ("tools", "logprobs"), Price(0.5, 1.5)),
        "gpt-4o": Known(128_000, 16_384, _GPT, Price(2.5, 10.0, 1.25)),
        "gpt-4o-mini": Known(128_000, 16_384, _GPT, Price(0.15, 0.6, 0.075)),
        "gpt-4.1": Known(1_047_576, 32_768, _GPT, Price(2.0, 8.0, 0.5)),
        "gpt-4.1-mini": Known(1_047_576, 32_768, _GPT, Price(0.4, 1.6, 0.1)),
        "gpt-4.1-nano": Known(1_047_576, 32_768, _GPT, Price(0.1, 0.4, 0.025)),
        "gpt-5": Known(400_000, 128_000, _THINKS, Price(1.25, 10.0, 0.125)),
        "gpt-5-mini": Known(400_000, 128_000, _THINKS, Price(0.25, 2.0, 0.025)),
        "gpt-5-nano": Known(400_000, 128_000, _THINKS, Price(0.05, 0.4, 0.005)),
        "o3": Known(200_000, 100_000, _THINKS, Price(2.0, 8.0, 0.5)),
        "o4-mini": Known(200_000, 100_000, _THINKS, Price(1.1, 4.4, 0.275)),
        "text-embedding-3-small": Known(8_191, None, None, Price(0.02)),
        "text-embedding-3-large": Known(8_191, None, None, Price(0.13)),
        "text-embedding-ada-002": Known(8_191, None, None, Price(0.1)),
    },
    # Which of them can be held to a schema has changed several times, so nothing is said of what they can do.
    "anthropic": {
        "claude-opus-4-1": Known(200_000, 32_000, None, Price(15.0, 75.0, 1.5)),
        "claude-sonnet-4": Known(200_000, 64_000, None, Price(3.0, 15.0, 0.3)),
        "claude-3-5-haiku": Known(200_000, 8_192, None, Price(0.8, 4.0, 0.08)),
    },
    "gemini": {
        # The dearer price, which long prompts have, is not in this table: theirs cost more than is said.
        "gemini-2.5-pro": Known(1_048_576, 65_536, None, Price(1.25, 10.0)),
        "gemini-2.5-flash": Known(1_048_576, 65_536, None, Price(0.3, 2.5)),
    },
}


def known(kind: str, provider_model: str) -> Known | None:
    """What is known of a model at its own vendor: elsewhere the same name may be another model, at another price.

    Args:
        kind: Row of `endpoints.KINDS`.
        provider_model: The vendor's name; with a date behind it, as in `gpt-4o-2024-11-20`, it is the model without.
            Any other ending makes it another model: `claude-sonnet-4-5` is not `claude-sonnet-4`.
    """
    models = _TABLE.get(kind, {})
    return models.get(provider_model) or models.get(_DATE.sub("", provider_model))
