"""The command: `python -m clients.conformance [--languages go,rust] [--cases …] [--measure]`; see `--help`."""

from __future__ import annotations

import argparse
import asyncio
import fnmatch
import json
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from clients.conformance.runner import cases, measuring, report
from clients.conformance.runner.languages import LANGUAGES, Language
from clients.conformance.runner.table import FAILED, Cell, table


def main() -> int:
    """Run it; 1 if anything failed."""
    options = _options()
    asked = {name: LANGUAGES[name] for name in options.languages} | dict(options.driver)
    languages = {name: language for name, language in asked.items() if not language.missing()}
    missing = [language.missing() for name, language in asked.items() if name not in languages]
    with tempfile.TemporaryDirectory(prefix="stepwire-conformance-") as folder:
        if options.measure:
            figures = asyncio.run(measuring.measure(languages, Path(folder), options.rounds))
            print(measuring.markdown(figures, languages))
            _write(options.json, json.dumps([each.json() for each in figures], indent=1))
            return 0
        book = cases.load()
        chosen = [case for name, case in book.cases.items() if any(fnmatch.fnmatch(name, p) for p in options.cases)]
        cells = asyncio.run(table(languages, chosen, book, Path(folder), _progress))
    print(report.text(cells, languages, missing))
    _write(options.markdown, report.markdown(cells, languages, missing))
    _write(options.json, json.dumps({"cells": [cell.json() for cell in cells], "missing": missing}, indent=1))
    return int(not cells or any(cell.outcome == FAILED for cell in cells))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m clients.conformance", description=__doc__)
    every = list(LANGUAGES)
    parser.add_argument("--languages", type=_names, default=every, help=f"of {','.join(every)}; default: all")
    parser.add_argument(
        "--driver", type=_driver, action="append", default=[], help="another driver: NAME=COMMAND; may be repeated"
    )
    parser.add_argument("--cases", type=_list, default=["*"], help="names or patterns, such as chat-*; default: all")
    parser.add_argument("--measure", action="store_true", help="measure cancels and push-back instead")
    parser.add_argument("--rounds", type=int, default=20, help="with --measure: how often each cancel is measured")
    parser.add_argument("--json", type=Path, help="also write what came of it to this file")
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")
    return parser.parse_args()


def _list(given: str) -> list[str]:
    return given.split(",")


def _names(given: str) -> list[str]:
    names = [name for name in _list(given) if name]
    if unknown := set(names) - set(LANGUAGES):
        raise argparse.ArgumentTypeError(f"no such language: {', '.join(sorted(unknown))}")
    return names


def _driver(given: str) -> tuple[str, Language]:
    name, _, command = given.partition("=")
    words = shlex.split(command)
    if not words:
        raise argparse.ArgumentTypeError(f"{given!r} is not NAME=COMMAND")
    program = shutil.which(words[0])
    if program is None:
        raise argparse.ArgumentTypeError(f"there is no {words[0]}")
    return name, Language(name, (program, *words[1:]))


def _progress(cell: Cell) -> None:
    if cell.outcome == FAILED:
        print(f"{cell.language} {cell.case}: {cell.why}", file=sys.stderr, flush=True)


def _write(path: Path | None, content: str) -> None:
    if path is not None:
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
