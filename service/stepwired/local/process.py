"""One child process of a local model: started, ready, alive or not, and ended."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import select
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_LOG = logging.getLogger("stepwired.local.child")
_TAIL_LINES = 20
_LINE_BYTES = 1000
_EXIT_S = 2.0
_PF_EXITING = 0x4  # a bit of the flags in Linux's /proc/PID/stat, see proc(5)
#: All of our environment that a child gets. The rest may hold keys of providers, which are none of its business.
_ENVIRONMENT = frozenset(
    {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH"}
    | {"PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "STEPWIRE_LOCAL_VERBOSITY"}
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to send requests, and the key that they need."""

    base_url: str
    """Such as `http://127.0.0.1:40123/v1`."""

    api_key: str = field(repr=False)


class StartFailed(Exception):
    """The process ended, or said what is no address, before it was ready. The text is for the log."""


class StartTimedOut(Exception):
    """The process was not ready in time, and was ended."""


class Child:
    """A running child. Made by `start`, always given back to `end`."""

    def __init__(self, process: Process, pipe: int, name: str, api_key: str) -> None:
        self._process = process
        self._pipe = pipe  # the writing end of its stdin
        self._name = name
        self._api_key = api_key
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._logging = asyncio.create_task(self._log_stderr(), name=f"log {name}")
        self.started_s = asyncio.get_running_loop().time()
        self.address = Address("", api_key)

    @classmethod
    async def start(cls, arguments: Sequence[str], name: str, timeout_s: float) -> Child:
        """Start `python -m stepwired.local` with these arguments and wait until it serves.

        Raises:
            StartFailed: It ended instead, or does not say where it serves.
            StartTimedOut: It was not ready in time.
        """
        reading, pipe = os.pipe()
        process: Process | None = None
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # modules come from where we come from, not from the folder we happen to be in
                "-m",
                "stepwired.local",
                *arguments,
                stdin=reading,
                stdout=PIPE,
                stderr=PIPE,
                env={key: value for key, value in os.environ.items() if key in _ENVIRONMENT},
                start_new_session=True,  # Ctrl-C in our terminal is for us: replies under way may still finish
            )
        finally:
            os.close(reading)
            if process is None:
                os.close(pipe)
        child = cls(process, pipe, name, secrets.token_urlsafe(32))
        ready = False
        try:
            async with asyncio.timeout(timeout_s):
                port = await child._handshake()
            child.address = Address(f"http://127.0.0.1:{port}/v1", child._api_key)
            ready = True
            return child
        except TimeoutError as cause:
            raise StartTimedOut from cause
        finally:
            if not ready:
                await child.end(grace_s=0.0)

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

    async def _handshake(self) -> int:
        """Give it its key, and learn its port."""
        stdout = self._process.stdout
        assert stdout is not None
        with suppress(BrokenPipeError):  # it has ended already; its stdout says so too
            os.write(self._pipe, self._api_key.encode() + b"\n")
        try:
            line = await stdout.readline()
        except ValueError:  # a line without end
            raise StartFailed("it said more than an address on its stdout") from None
        if not line:
            await self._process.wait()
            await self._logging
            raise StartFailed(f"{self.how_it_ended}; its last lines:\n" + "\n".join(self._tail))
        return _port(line)

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


def _port(line: bytes) -> int:
    """The port of an announcement.

    Raises:
        StartFailed: It is none: something else has written to the child's stdout, or is no child of ours.
    """
    try:
        port = json.loads(line)["port"]
    except (ValueError, LookupError, TypeError, RecursionError):
        port = None
    if type(port) is not int or not 0 < port < 65536:
        raise StartFailed("the first line on its stdout is no address of ours")
    return port


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
