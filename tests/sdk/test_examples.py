"""What the documentation shows works as it is written."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

import stepwire
from stepwire import AsyncClient, errors
from tests.sdk.pages import blocks, run_commands, run_program
from tests.sdk.pictures import PNG
from tests.sdk.test_exports import CALLS


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
    run_program(blocks("python.md", "python")[number], real_target, tmp_path)


def test_the_commands_of_the_page_run(real_target: str, tmp_path: Path) -> None:
    [script] = blocks("cli.md", "sh")
    run_commands(script, real_target, tmp_path)
