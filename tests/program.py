"""The real server as its own process, for tests that need the whole of it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import platformdirs
import pytest

from stepwired.local import models

HANG_S = 60.0
"""Long enough on a busy machine; no test measures time with it."""

STEPWIRED = Path(sys.executable).with_name("stepwired")
STEPWIRE = Path(sys.executable).with_name("stepwire")


@dataclass
class Program:
    """A server that runs."""

    process: asyncio.subprocess.Process
    address: str
    log: Path
    printed: list[str] = field(default_factory=list)

    def channel(self, options: list[tuple[str, int | str]] | None = None) -> grpc.aio.Channel:
        """A connection to it, as a stock client makes one."""
        return grpc.aio.insecure_channel(self.address, options=options)

    def children(self) -> list[int]:
        """Process ids of the local models that it runs."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for task in tasks for pid in task.read_text().split()]

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
    file = data_dir / "stepwire.toml"
    file.write_text(settings, encoding="utf-8")
    log = data_dir / "log"
    with log.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            *below,
            STEPWIRED,
            "serve",
            "--port",
            "0",
            "--data-dir",
            data_dir,
            "--config",
            file,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, **(environ or {})},
        )
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), HANG_S)).decode()
        found = re.search(r"serves gRPC on (\S+:\d+)", line)
        assert found, f"{line!r}\n{log.read_text()}"
        yield Program(process, found[1], log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def shared_models() -> Path:
    """The data folder with the local models, which are fetched once and kept."""
    folder = Path(os.environ.get("STEPWIRE_TEST_MODELS") or platformdirs.user_data_dir("stepwire"))
    for model in models.known():
        models.pull(folder, model.name)
    return folder


def data_dir_with_models(factory: pytest.TempPathFactory) -> Path:
    """A data folder of its own, beside the models that all tests share."""
    folder = factory.mktemp("data")
    (folder / "models").symlink_to(shared_models() / "models")
    return folder
