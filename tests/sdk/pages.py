"""Programs and commands of the documentation, run as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = "localhost:50051"


def blocks(file: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "docs" / file).read_text(), re.MULTILINE | re.DOTALL)


def run_program(program: str, target: str, folder: Path) -> str:
    """Run a program in Python with a server in place of the one that it names; what it prints."""
    assert DEFAULT in program
    done = _run([sys.executable, "-W", "error", "-c", program.replace(DEFAULT, target)], folder)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def run_commands(script: str, target: str, folder: Path) -> str:
    """Type commands, with a server as the one that the environment names; what they print."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = _run(["bash", "-eu", "-o", "pipefail", "-c", script], folder, PATH=path, STEPWIRE_SERVER=target)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
