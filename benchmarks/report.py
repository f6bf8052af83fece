"""The table that a person reads, and the same as JSON."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TextIO

from benchmarks.figures import Line

Row = tuple[str, str, str, str, str, str, str]
_LIBRARIES = ("grpcio", "protobuf", "uvloop", "aiohttp", "httpx", "msgspec")


def write_table(out: TextIO, lines: Iterable[Line], cores: int) -> None:
    """One line for each figure: the median of its rounds, the least and the most, and the goal."""
    rows: list[Row] = [("figure", "median", "least .. most", "n", "unit", "goal", "")]
    rows += [_row(line) for line in lines]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    print(f"\n{cores} cores, Python {platform.python_version()}, {_versions()}", file=out)
    for number, row in enumerate(rows):
        cells = [
            cell.ljust(width) if column in (0, 4, 5) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        print("  ".join([*cells, row[6]]).rstrip(), file=out)
        if not number:
            print("  ".join("-" * width for width in widths), file=out)


def write_json(path: Path, lines: Iterable[Line], cores: int) -> None:
    said = {
        "cores": cores,
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "figures": [{**asdict(line), "median": median(line.values) if line.values else None} for line in lines],
    }
    path.write_text(json.dumps(said, indent=2) + "\n")


def _row(line: Line) -> Row:
    if not line.values:
        return (line.name, "-", "-", "0", line.unit, line.goal, line.note)

    def number(value: float) -> str:
        return f"{value:,.{line.digits}f}"

    spread = f"{number(min(line.values))} .. {number(max(line.values))}" if len(line.values) > 1 else ""
    return (line.name, number(median(line.values)), spread, str(len(line.values)), line.unit, line.goal, line.note)


def _versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)


def progress(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
