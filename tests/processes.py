"""Looks at processes that are not ours to wait for, through Linux's /proc."""

from __future__ import annotations

import os
import time
from pathlib import Path

GONE_S = 10.0


def is_there(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + GONE_S
    while any(map(is_there, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(map(is_there, pids))


def children() -> set[int]:
    """The processes that we started and that are there yet, not those that have ended and only wait to be asked for."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_bytes().rpartition(b")")[2].split()[:2]
        except OSError:  # it has just ended
            continue
        if int(parent) == os.getpid() and state != b"Z":
            found.add(int(stat.parent.name))
    return found
