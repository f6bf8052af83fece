"""Command lines about conversations that no request can carry, or that name what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sdk.commands import Run, lines


@pytest.mark.parametrize(
    "options",
    [
        ["update", "c1", "--metadata", '{"a":' * 60 + "1" + "}" * 60],
        ["update", "c1", "--metadata", '{"a":' * 200_000 + "1" + "}" * 200_000],
        ["update", "c1", "--title", "t", "--if-revision", str(10**23)],
        ["update", "c1", "--title", "t", "--if-revision", "0"],
        ["watch", "c1", "--after", str(10**23)],
        ["list", "-n", "0"],
    ],
    ids=["deep", "very deep", "revision", "revision 0", "after", "limit"],
)
def test_what_no_request_can_carry_is_wrong_and_no_defect(talk: Run, options: list[str]) -> None:
    result = talk(*options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "rror:" in result.stderr


def test_files_that_cannot_be_used_are_wrong(talk: Run, run: Run, tmp_path: Path) -> None:
    away = str(tmp_path / "no" / "c1.json")
    for result in (talk("export", "c1", "-o", away, "--json"), run("chat", "hi", "--image", away, "--json")):
        assert result.exit_code == 2
        assert away in lines(result)[0]["error"]["message"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["conversations", "show", "\udcff"],
        ["conversations", "append", "c1", "\udcff"],
        ["conversations", "list", "--label", "\udcff=a"],
        ["chat", "\udcff"],
        ["--server", "\udcff", "models"],
        ["--server", "", "models"],
        ["models", "--server", " "],
    ],
)
def test_a_command_line_that_says_nothing_is_wrong(talk: Run, run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "rror:" in result.stderr
