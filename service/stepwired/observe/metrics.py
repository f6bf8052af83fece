"""Counters that are there before any exporter is: the hook that exporters will take."""

from __future__ import annotations


class NoMetrics:
    """Counts nothing. An `events.Metrics`."""

    def call_ended(self, method: str, code: str, reason: str, duration_s: float) -> None:
        """Forget it."""
