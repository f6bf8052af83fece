"""One child process: started, heard, alive or not, and ended."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

_LOG = logging.getLogger("stepwired.child")
_TAIL_LINES = 20
_LINE_BYTES = 1000
_EXIT_S = 2.0
_PF_EXITING = 0x4  # a bit of the flags in Linux's /proc/PID/stat, see proc(5)
#: All of our environment that a child gets. The rest may hold keys of providers, which are none of its business.
_ENVIRONMENT = frozenset(
    {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH"}
    | {"PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "STEPWIRE_LOCAL_VERBOSITY"}
)


class StartFailed(Exception):
    """The process ended before it was ready, or said what it should not. The text is for the log."""


class Child:
    """A running child. Made by `spawn`, always given back to `end`."""

    def __init__(self, process: Process, pipe: int, name: str) -> None:
        self._process = process
        self._pipe = pipe  # the writing end of its stdin
        self._name = name
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._logging = asyncio.create_task(self._log_stderr(), name=f"log {name}")
        self.started_s = asyncio.get_running_loop().time()

    @classmethod
    async def spawn(cls, module: str, arguments: Sequence[str], name: str, *, pass_fds: Sequence[int] = ()) -> Self:
        """Start `python -m module` with these arguments; its first act is to make a `processes.parent.Parent`.

        Args:
            module: What to run.
            arguments: Its command line, which every user of the machine can read.
            name: For the log.
            pass_fds: Descriptors that it shares with us.
        """
        reading, pipe = os.pipe()
        process: Process | None = None
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # modules come from where we come from, not from the folder we happen to be in
                "-m",
                module,
                *arguments,
                stdin=reading,
                stdout=PIPE,
                stderr=PIPE,
                env={key: value for key, value in os.environ.items() if key in _ENVIRONMENT},
                start_new_session=True,  # Ctrl-C in our terminal is for us: replies under way may still finish
                pass_fds=pass_fds,
            )
        finally:
            os.close(reading)
            if process is None:
                os.close(pipe)
        return cls(process, pipe, name)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs at this moment, even if the event loop has not heard of its end yet."""
        if self._process.returncode is not None or self._pipe < 0:
            return False
        poll = select.poll()
        poll.register(self._pipe, 0)
        return not poll.poll(0) and not _is_exiting(self._process.pid)

    @property
    def how_it_ended(self) -> str:
        """For the log: its exit status, or the signal that ended it."""
        status = self._process.returncode
        if status is None:
            return "just now"
        return f"signal {-status}" if status < 0 else f"status {status}"

    @property
    def ended_by(self) -> int:
        """The signal that ended it; 0 while it runs, and where it left by itself."""
        return max(0, -(self._process.returncode or 0))

    async def end(self, grace_s: float = _EXIT_S) -> None:
        """End it, if it still runs, and wait until it and its pipes are gone.

        It ends by itself when its stdin closes; one that does not is terminated, then killed.
        """
        process = self._process
        try:
            if self._pipe >= 0:
                os.close(self._pipe)
                self._pipe = -1
            if grace_s > 0:
                for hasten in (process.terminate, process.kill):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(process.wait(), grace_s)
                        break
                    with suppress(ProcessLookupError):
                        hasten()
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
            await process.wait()
            await self._logging

    async def handshake(self, line: str) -> bytes:
        """Tell it its one line and wait for the one that it has for us.

        Raises:
            StartFailed: It ended instead, or has more to say than a line.
        """
        stdout = self._process.stdout
        assert stdout is not None
        with suppress(BrokenPipeError):  # it has ended already; its stdout says so too
            os.write(self._pipe, line.encode() + b"\n")
        try:
            answer = await stdout.readline()
        except ValueError:  # a line without end
            raise StartFailed("it said more than a line on its stdout") from None
        if not answer:
            await self._process.wait()
            await self._logging
            raise StartFailed(f"{self.how_it_ended}; its last lines:\n" + "\n".join(self._tail))
        return answer

    async def _log_stderr(self) -> None:
        """Pass on what it says, line by line, cut to a sensible length, until it ends."""
        stderr = self._process.stderr
        assert stderr is not None
        pending = b""
        while chunk := await stderr.read(4096):
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                self._log_line(line)
            pending = pending[-_LINE_BYTES:]
        self._log_line(pending)

    def _log_line(self, line: bytes) -> None:
        text = line[:_LINE_BYTES].decode("utf-8", "replace").rstrip()
        if text:
            self._tail.append(text)
            _LOG.info("%s: %s", self._name, text)


def _is_exiting(pid: int) -> bool:
    """Whether the process is on its way out, where the system tells (Linux); False where it does not.

    A killed process closes its sockets, newest first, some time before it is a zombie and before our pipe breaks.
    Whoever was cut off by that and calls again at once must not be sent to what is left of it (seen in a test).
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return False
    return fields[0] in {b"Z", b"X"} or bool(int(fields[6]) & _PF_EXITING)
