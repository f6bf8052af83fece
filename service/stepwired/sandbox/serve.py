"""The child's loop: read a question, call the function, answer, and never use more than it was given."""

from __future__ import annotations

import os
import resource
import signal
import socket
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from stepwired.limits import KIB, MIB
from stepwired.processes import frames
from stepwired.processes.parent import Parent
from stepwired.sandbox import script, wire

_SCRIPTS = 256
"""Functions that are kept ready. One that was dropped is made again when it is called again."""

_KEPT_BYTES = 128 * MIB
"""What they may hold together between calls."""

_SLACK_BYTES = 192 * MIB
"""Address space beside all that: what Python and the C library keep back for themselves."""

_STACK_BYTES = 8 * MIB
_PAGE_BYTES = resource.getpagesize()


def serve(parent: Parent, connection: socket.socket) -> None:
    """Answer each question that comes through `connection`, one after the other, until it closes."""
    budget = wire.read_budget(parent.said)
    parent.watch()
    scripts = _Scripts(budget)
    _harden(budget)
    with connection.makefile("rb") as questions:
        parent.tell("ready")
        while (question := frames.read(questions)) is not None:
            # Counts time that this process computes; the system ends it with SIGPROF, whatever native code is doing.
            signal.setitimer(signal.ITIMER_PROF, budget.cpu_s)
            answer = scripts.answer(wire.read_ask(question))
            signal.setitimer(signal.ITIMER_PROF, 0)
            frames.write(connection, answer)
            scripts.prepare()


class _Scripts:
    """All functions of this process, the one called last at the end."""

    def __init__(self, budget: wire.Budget) -> None:
        self._budget = budget
        self._ready: OrderedDict[tuple[int, str], script.Script] = OrderedDict()
        self._spare: script.World | None = None
        self._memory = _Memory()
        self.prepare()

    def prepare(self) -> None:
        """Make a world for the next new function, while nobody waits."""
        if self._spare is None:
            self._spare = script.World(self._budget)

    def answer(self, ask: wire.Ask) -> bytes:
        """What to say to one question."""
        if ask.dropped:
            ended = frozenset(ask.dropped)
            for key in [key for key in self._ready if key[0] in ended]:
                del self._ready[key]
        if ask.source and bytes(ask.calls):
            return self._call(ask)
        return wire.encode(wire.Verdict(self._fault(ask.source) if ask.source else None))

    def _fault(self, source: str) -> str | None:
        try:
            self._world().check(source)
        except script.NoFunction as error:
            return str(error)
        return None

    def _call(self, ask: wire.Ask) -> bytes:
        key = ask.run, ask.source
        found = self._ready.pop(key, None)
        if found is None:
            try:
                found = script.Script(self._world(), ask.source)
            except script.NoFunction as error:
                return wire.encode(wire.Answer(0, trouble="thrown", text=str(error))) + b"\n"
        answer, is_fine = found.call(str(ask.calls, "utf-8"))
        if is_fine:
            self._ready[key] = found
        del found
        while len(self._ready) > _SCRIPTS or (self._ready and self._memory.used_bytes() > _KEPT_BYTES):
            self._ready.popitem(last=False)
        return answer

    def _world(self) -> script.World:
        world, self._spare = self._spare, None
        return world or script.World(self._budget)


class _Memory:
    """How much more memory this process holds than at its start, where the system tells (Linux)."""

    def __init__(self) -> None:
        self._file = -1
        with suppress(OSError):
            self._file = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._least_bytes = 0
        self._least_bytes = self.used_bytes()

    def used_bytes(self) -> int:
        """Of the system's memory, not of addresses."""
        if self._file < 0:
            return 0
        return int(os.pread(self._file, 4 * KIB, 0).split()[1]) * _PAGE_BYTES - self._least_bytes


def _harden(budget: wire.Budget) -> None:
    """Give up what JavaScript needs none of. Where the system knows no such limit, the engine's own are left."""
    limits = {
        resource.RLIMIT_NOFILE: 0,  # no file and no socket is ever opened again
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NPROC: 0,
    }
    with suppress(OSError):
        used = int(Path("/proc/self/statm").read_bytes().split()[0]) * _PAGE_BYTES
        limits[resource.RLIMIT_AS] = used + _KEPT_BYTES + 2 * budget.memory_bytes + _SLACK_BYTES
    for limit, value in limits.items():
        with suppress(ValueError, OSError):
            resource.setrlimit(limit, (value, value))
    with suppress(ValueError, OSError):
        _, most = resource.getrlimit(resource.RLIMIT_STACK)
        resource.setrlimit(resource.RLIMIT_STACK, (_STACK_BYTES, most))
