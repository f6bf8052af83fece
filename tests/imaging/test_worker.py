"""A decoder's start."""

from __future__ import annotations

import asyncio
import socket

import pytest

from stepwired.imaging.wire import Budget
from stepwired.imaging.worker import Worker


async def test_a_start_that_cannot_connect_leaves_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []
    pair = socket.socketpair

    def noted() -> tuple[socket.socket, socket.socket]:
        made.extend(pair())
        return made[0], made[1]

    async def cancelled(**_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(socket, "socketpair", noted)
    monkeypatch.setattr(asyncio, "open_unix_connection", cancelled)
    with pytest.raises(asyncio.CancelledError):
        await Worker.start(Budget(1, 1), 1.0)
    assert [end.fileno() for end in made] == [-1, -1]
