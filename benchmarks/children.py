"""The processes of a run: each is started, watched and, whatever happens, ended by the one that started it."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_START_S = 30.0
_END_S = 5.0


@dataclass(frozen=True, slots=True)
class Child:
    """A process that serves."""

    pid: int
    port: int
    line: str
    """What it said when it was ready."""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def child(command: Sequence[str], ready: str, log: Path) -> AsyncGenerator[Child]:
    """Start a program, wait until it prints a line that matches `ready`, whose group 1 is its port; end it on leaving.

    Args:
        command: Program and arguments.
        ready: Pattern of the line.
        log: Where its stderr goes; its last lines are shown if it does not start.
    """
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=subprocess.PIPE,  # held open: our own programs end when it closes, even if we are killed
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # ctrl-c reaches us alone, and we end it
        )
    try:
        found = await _ready(process, re.compile(ready))
        if found is None:
            raise SystemExit(f"benchmarks: {' '.join(command)} did not start:\n{_tail(log)}")
        yield Child(process.pid, int(found[1]), found.string)
    finally:
        await end(process)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


async def _ready(process: asyncio.subprocess.Process, ready: re.Pattern[str]) -> re.Match[str] | None:
    assert process.stdout is not None
    with suppress(TimeoutError):
        async with asyncio.timeout(_START_S):
            while line := await process.stdout.readline():
                if found := ready.search(line.decode(errors="replace")):
                    return found
    return None


async def end(process: asyncio.subprocess.Process) -> None:
    """Ask it to end, then make it."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def output_of(module: str, argument: str) -> bytes:
    """Run one of our modules to its end and return what it printed. SystemExit with its last words if it failed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        argument,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        said, complaints = await asyncio.gather(process.stdout.read(), process.stderr.read())
        if await process.wait():
            tail = "\n".join(complaints.decode(errors="replace").splitlines()[-25:])
            raise SystemExit(f"benchmarks: {module} {argument} failed:\n{tail}")
        return said
    finally:
        await end(process)


async def run_until_orphaned(serve: Callable[[Callable[[str], None]], Awaitable[None]]) -> None:
    """Run `serve` in a child of ours until it ends or stdin does, which is when the parent is gone."""
    loop = asyncio.get_running_loop()
    orphaned: asyncio.Future[None] = loop.create_future()

    def look() -> None:
        if not os.read(0, 4096) and not orphaned.done():
            orphaned.set_result(None)

    loop.add_reader(0, look)
    serving = asyncio.ensure_future(serve(lambda line: print(line, flush=True)))
    await asyncio.wait((serving, orphaned), return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()


def cpu_s(pid: int) -> float:
    """CPU seconds that all threads of the process have used: its CPU clock, which /proc/PID/stat rounds to 10 ms."""
    return time.clock_gettime((~pid << 3) | 2)  # the C library's clock_getcpuclockid


def busy_cpu_s() -> float:
    """CPU seconds that all processes of the machine have used, in steps of 10 ms."""
    user, nice, system, _idle, _wait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int, field: str) -> float:
    """`VmRSS` or `VmHWM` of the process, in MB of 10^6 bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024 / 1e6
