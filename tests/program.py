"""The real server as its own process, for tests that need the whole of it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import platformdirs
import pytest

from stepwired.local import models
from stepwired.settings import Local

HANG_S = 60.0
"""Long enough on a busy machine; no test measures time with it."""

MODELS = (Local().chat, Local().embed)
"""The local models that a server without settings uses."""

STEPWIRED = Path(sys.executable).with_name("stepwired")
STEPWIRE = Path(sys.executable).with_name("stepwire")


@dataclass
class Program:
    """A server that runs."""

    process: asyncio.subprocess.Process
    address: str
    log: Path
    http: str = ""
    """Where it serves HTTP, as in `http://127.0.0.1:8080`; empty where it does not."""

    printed: list[str] = field(default_factory=list)

    def channel(self, options: list[tuple[str, int | str]] | None = None) -> grpc.aio.Channel:
        """A connection to it, as a stock client makes one."""
        return grpc.aio.insecure_channel(self.address, options=options)

    def children(self, module: str = "") -> list[int]:
        """Process ids of what it runs: `stepwired.local`, `stepwired.imaging`, `stepwired.sandbox`, or all."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        found = [int(pid) for task in tasks for pid in task.read_text().split()]
        return [pid for pid in found if f"\0{module}" in Path(f"/proc/{pid}/cmdline").read_text()]

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; its exit status."""
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), HANG_S)


@asynccontextmanager
async def running(
    data_dir: Path, settings: str = "", environ: Mapping[str, str] | None = None, *, below: Sequence[str] = ()
) -> AsyncGenerator[Program]:
    """Start a server on a free port with these settings (TOML) and wait until it serves.

    Args:
        data_dir: Its data folder.
        settings: What its settings file says.
        environ: Variables to be set beside those of this process.
        below: A command that is to run it, such as a tracer.
    """
    log = data_dir / "log"
    with log.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            *below,
            *_command(data_dir, settings),
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, **(environ or {})},
        )
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), HANG_S)).decode()
        yield Program(process, _address(line, log), log, _http(line))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@contextmanager
def running_without_loop(data_dir: Path, settings: str = "") -> Generator[str]:
    """As `running`, for tests that are no coroutines: the server's address. It has to end well."""
    log = data_dir / "log"
    with (
        log.open("ab") as stderr,
        subprocess.Popen(_command(data_dir, settings), stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            yield _address(process.stdout.readline(), log)
            process.terminate()
            assert process.wait(HANG_S) == 0
        finally:
            process.kill()


def _command(data_dir: Path, settings: str) -> list[str | Path]:
    file = data_dir / "stepwire.toml"
    file.write_text(settings, encoding="utf-8")
    return [STEPWIRED, "serve", "--port", "0", "--http-port", "0", "--data-dir", data_dir, "--config", file]


def _address(line: str, log: Path) -> str:
    found = re.search(r"serves gRPC on (\S+:\d+)", line)
    assert found, f"{line!r}\n{log.read_text()}"
    return found[1]


def _http(line: str) -> str:
    found = re.search(r"HTTP on (http://\S+)/v1", line)
    return found[1] if found else ""


def shared_models() -> Path:
    """The data folder with the local models, which are fetched once and kept."""
    folder = Path(os.environ.get("STEPWIRE_TEST_MODELS") or platformdirs.user_data_dir("stepwire"))
    for name in MODELS:
        models.pull(folder, name)
    return folder


def data_dir_with_models(factory: pytest.TempPathFactory) -> Path:
    """A data folder of its own, beside the models that all tests share."""
    folder = factory.mktemp("data")
    (folder / "models").symlink_to(shared_models() / "models")
    return folder
