"""The command `stepwire`, run within a test and away from a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from click.testing import CliRunner, Result

from stepwire.cli.app import cli

Run = Callable[..., Result]


def on(target: str) -> Run:
    """The command with this server: its arguments and what is piped into it give what came of it."""

    def run(*arguments: str, piped: str | None = None) -> Result:
        return CliRunner().invoke(cli, ["--server", target, *arguments], input=piped)

    return run


def lines(result: Result) -> list[Any]:
    """The lines of output, each as JSON."""
    return [json.loads(line) for line in result.stdout.splitlines()]
