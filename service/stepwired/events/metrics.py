"""How the service is counted."""

from __future__ import annotations

from typing import Protocol


class Metrics(Protocol):
    """Where the service counts what it does. Called once a call, never once a token."""

    def call_ended(self, method: str, code: str, reason: str, duration_s: float) -> None:
        """One call is over: its full method name, the status code's name, the failure's reason or ''."""
