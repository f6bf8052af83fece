"""Finds that a peer takes nothing of what it is sent, or is gone."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

#: In how many looks a peer that takes nothing is found.
_LOOKS = 2


class Stalls:
    """Looks after what is to be sent over one connection, while more than a little of it waits.

    Args:
        transport: Of the connection.
        within_s: How long a peer may take nothing.
        found: Called once it took nothing for so long.
    """

    def __init__(self, transport: asyncio.Transport, within_s: float, found: Callable[[], None]) -> None:
        self._transport = transport
        self._apart_s = within_s / _LOOKS
        self._found = found
        self._timer: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0
        self._looks = 0

    def begin(self) -> None:
        """Look from now on."""
        self._unsent_bytes = self._transport.get_write_buffer_size()
        self._looks = 0
        self._look_again()

    def end(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_again(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._apart_s, self._look)

    def _look(self) -> None:
        left_bytes = self._transport.get_write_buffer_size()
        self._looks = 0 if left_bytes < self._unsent_bytes else self._looks + 1
        self._unsent_bytes = left_bytes
        if self._looks < _LOOKS:
            self._look_again()
        else:
            self._found()


def is_deserted(transport: asyncio.Transport) -> bool:
    """Whether the peer is gone, also where what it sent before that waits unread."""
    wire = transport.get_extra_info("socket")
    if wire is None or wire.fileno() < 0 or not hasattr(select, "poll"):
        return transport.is_closing()
    looking = select.poll()
    looking.register(wire, getattr(select, "POLLRDHUP", 0))
    return bool(looking.poll(0))
