"""One child process of a local model: started, ready, alive or not, and ended."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

_LOG = logging.getLogger("stepwired.local.child")
_TAIL_LINES = 20
_LINE_BYTES = 1000
_EXIT_S = 2.0
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
    """The process ended before it was ready. The text has its last lines, for the log."""


class StartTimedOut(Exception):
    """The process was not ready in time, and was ended."""


class Child:
    """A running child. Made by `start`, always given back to `end`."""

    def __init__(self, process: Process, name: str, api_key: str) -> None:
        self._process = process
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
            StartFailed: It ended instead.
            StartTimedOut: It was not ready in time.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # modules come from where we come from, not from the folder we happen to be in
            "-m",
            "stepwired.local",
            *arguments,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env={key: value for key, value in os.environ.items() if key in _ENVIRONMENT},
            start_new_session=True,  # Ctrl-C in our terminal is for us: replies under way may still finish
        )
        child = cls(process, name, secrets.token_urlsafe(32))
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
        if self._process.returncode is not None:
            return False
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return True
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

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
            assert process.stdin is not None
            process.stdin.close()
            if grace_s > 0:
                for hasten in (process.terminate, process.kill):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(process.wait(), grace_s)
                        break
                    with suppress(ProcessLookupError):
                        hasten()
        finally:
            if self.is_alive:
                with suppress(ProcessLookupError):
                    process.kill()
            await process.wait()
            await self._logging

    async def _handshake(self) -> int:
        """Give it its key, and learn its port."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with suppress(ConnectionError):  # it has ended already; its stdout says so too
            stdin.write(self._api_key.encode() + b"\n")
            await stdin.drain()
        line = await stdout.readline()
        if not line:
            await self._process.wait()
            await self._logging
            raise StartFailed(f"{self.how_it_ended}; its last lines:\n" + "\n".join(self._tail))
        return int(json.loads(line)["port"])

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
