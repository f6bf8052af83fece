"""What the page on clients says is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clients.conformance.runner import cases
from clients.conformance.runner.languages import LANGUAGES
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "clients.md").read_text("utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_runs(command: str, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-eu", "-c", command.replace("table.md", str(tmp_path / "table.md"))],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Python" in done.stdout
    if "table.md" in command:
        assert "| embed-vectors | ok |" in (tmp_path / "table.md").read_text()


def test_the_page_counts_the_cases_and_excuses_as_they_are() -> None:
    book = cases.load()
    assert f"\n{len(book.cases)} cases: " in PAGE
    for name, language in LANGUAGES.items():
        excused = [case for excuse in book.excuses if excuse.language == name for case in excuse.cases]
        row = re.search(rf"^\| {re.escape(language.title)} \| (\d+) \| (.*)$", PAGE, re.MULTILINE)
        assert row is not None, name
        assert int(row[1]) == len(book.cases) - len(excused)
        assert all(case in row[2] for case in excused)


def test_every_language_has_its_row_in_each_table() -> None:
    for language in LANGUAGES.values():
        tables = 3 if language.is_http else 6  # what is said of TypeScript holds over HTTP too
        assert len(re.findall(rf"^\| {re.escape(language.title)} \|", PAGE, re.MULTILINE)) == tables
