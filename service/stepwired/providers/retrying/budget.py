"""Keeps retries from making an outage worse: of many failing calls, few are tried again."""

from __future__ import annotations

_RATIO = 0.1
"""Retries for each request, in the long run: a server that fails every call gets at most 1.1 times as many."""

_BURST = 10.0
"""Retries that may be made at once before the ratio holds."""


class RetryBudget:
    """The retries that one endpoint may still get. Requests earn them."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = _BURST

    def earn(self) -> None:
        """One request goes out that is no retry."""
        self._left = min(_BURST, self._left + _RATIO)

    def spend(self) -> bool:
        """Take one retry, if there is one."""
        if self._left < 1.0 - 1e-9:  # ten times a tenth is a little less than one
            return False
        self._left -= 1.0
        return True
