"""What was used: tokens, and attempts to get a reply."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class UsageSource(Enum):
    """Where token counts come from."""

    ABSENT = "absent"
    ESTIMATED = "estimated"
    PROVIDER = "provider"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. None where the provider did not say, which is not the same as 0."""

    source: UsageSource = UsageSource.ABSENT
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_input_tokens: int | None = None
    cost_usd: float | None = None
    """None where no price is known."""

    is_corrected: bool = False
    """Whether the provider gave an impossible count, which was cut to what is possible."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to get a reply."""

    provider: str
    model: str
    reason: str = ""
    """Why it failed, a name of `Reason`; empty for the one that answered."""

    duration_s: float = 0.0
    """To its failure or its first event."""

    wait_s: float = 0.0
    """How long was waited before it."""
