"""What the documentation shows works as it is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import stepwire
from stepwire import AsyncClient, errors
from tests.sdk.pictures import PNG
from tests.sdk.test_exports import CALLS

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = "localhost:50051"


def blocks(file: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "docs" / file).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", CALLS)
async def test_the_example_of_each_call_runs(
    client: AsyncClient, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.png").write_bytes(PNG)
    doc = getattr(AsyncClient, name).__doc__
    example = re.findall(r"\n\n((?:            .*\n|\n)+)", doc)[0]
    await client.create_conversation(conversation_id="c1", messages=["hi"])
    names = {
        "client": client,
        "stepwire": stepwire,
        "errors": errors,
        "lines": ["a", ""],
        "print": lambda *_, **__: None,
    }
    body = textwrap.indent(textwrap.dedent(example), "    ")
    exec(f"async def main():\n{body}\n", names)
    await names["main"]()  # type: ignore[operator]


@pytest.mark.parametrize("number", range(len(blocks("python.md", "python"))))
def test_each_program_of_the_python_page_runs(real_target: str, number: int, tmp_path: Path) -> None:
    program = blocks("python.md", "python")[number]
    assert DEFAULT in program
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program.replace(DEFAULT, real_target)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_commands_of_the_page_run(real_target: str, tmp_path: Path) -> None:
    [script] = blocks("cli.md", "sh")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "STEPWIRE_SERVER": real_target},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
