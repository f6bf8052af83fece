"""What both child processes share: how they learn their key, say where they listen, and end with their parent.

The parent writes the key as the first line of our stdin, where no other user can read it (the command line is public),
and keeps the pipe open. When it ends, however it ends, the pipe closes and so do we.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import sys
import threading
from typing import NoReturn

#: A model server holds nothing that is worth an orderly end, and llama.cpp's own waits for replies under way.
_leave = os._exit


class Parent:
    """The process that started us. Make it first: it takes stdin and stdout away from everybody else."""

    def __init__(self) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold prompts
        os.umask(0o077)
        # What native code prints belongs into the log; stdout carries our one line.
        self._announcements = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._stdin = os.fdopen(os.dup(0), "rb", buffering=0)
        self.api_key = self._stdin.readline().decode("ascii").strip()
        if not self.api_key:
            sys.exit("the key is expected as the first line of stdin")
        # The system ends us with SIGIO when the pipe closes, even while native code that loads a model keeps
        # Python's threads, such as our watch, from running.
        fcntl.fcntl(self._stdin, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self._stdin, fcntl.F_SETFL, fcntl.fcntl(self._stdin, fcntl.F_GETFL) | os.O_ASYNC)

    def announce(self, port: int) -> None:
        """Say that we are ready, on 127.0.0.1 and this port."""
        self._announcements.write(json.dumps({"port": port}) + "\n")
        self._announcements.close()

    def watch(self) -> None:
        """End this process as soon as the parent has gone. Returns at once."""
        threading.Thread(target=self.wait_for_end, name="parent-watch", daemon=True).start()

    def wait_for_end(self) -> NoReturn:
        """Stay until the parent has gone, then end this process."""
        while self._stdin.read(4096):
            pass
        _leave(0)


def usable_cores() -> int:
    """Cores this process may run on, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
