"""A child's end of being one: it learns one line, says one line, and ends with the process that started it.

The parent writes its line as the first of our stdin, where no other user can read it (the command line is public), and
keeps the pipe open. When it ends, however it ends, the pipe closes and so do we.
"""

from __future__ import annotations

import fcntl
import os
import resource
import threading
from typing import NoReturn

#: What a child holds is worth no orderly end, and native code may take its time over one.
_leave = os._exit


class Parent:
    """The process that started us. Make it first: it takes stdin and stdout away from everybody else.

    Attributes:
        said: The line that it had for us; empty if it has already gone.
    """

    def __init__(self) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold prompts, or pictures
        os.umask(0o077)
        # What native code prints belongs into the log; stdout carries our one line.
        self._announcements = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._stdin = os.fdopen(os.dup(0), "rb", buffering=0)
        self.said = self._stdin.readline().decode("utf-8").strip()
        # The system ends us with SIGIO when the pipe closes, even while native code keeps Python's threads, such as
        # our watch, from running.
        fcntl.fcntl(self._stdin, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self._stdin, fcntl.F_SETFL, fcntl.fcntl(self._stdin, fcntl.F_GETFL) | os.O_ASYNC)

    def tell(self, line: str) -> None:
        """Say our one line, which also says that we are ready."""
        self._announcements.write(line + "\n")
        self._announcements.close()

    def watch(self) -> None:
        """End this process as soon as the parent has gone. Returns at once."""
        threading.Thread(target=self.wait_for_end, name="parent-watch", daemon=True).start()

    def wait_for_end(self) -> NoReturn:
        """Stay until the parent has gone, then end this process."""
        while self._stdin.read(4096):
            pass
        _leave(0)
