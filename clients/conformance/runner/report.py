"""Prints the table, as text and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from clients.conformance.runner.languages import Language
from clients.conformance.runner.table import EXCUSED, FAILED, PASSED, Cell, counts

_SIGNS = {PASSED: "ok", FAILED: "FAIL", EXCUSED: "excused"}


def text(cells: Sequence[Cell], languages: Mapping[str, Language], missing: Sequence[str]) -> str:
    """Write languages × cases, then each failure, each excuse, and the sums."""
    rows = _rows(cells)
    width = max(map(len, rows), default=0)
    titles = {name: f"  {language.title:>10}" for name, language in languages.items()}
    lines = [" " * width + "".join(titles.values())]
    for case, row in rows.items():
        signs = {name: _SIGNS[row[name].outcome] if name in row else "-" for name in languages}
        lines.append(f"{case:<{width}}" + "".join(sign.rjust(len(titles[name])) for name, sign in signs.items()))
    lines.append("")
    lines += [
        f"{_SIGNS[cell.outcome]}: {cell.language} {cell.case}: {cell.why}" for cell in cells if cell.outcome != PASSED
    ]
    lines += [f"left out: {why}" for why in missing]
    for name, count in counts(cells).items():
        times = ", ".join(f"{count[outcome]} {outcome}" for outcome in _SIGNS)
        lines.append(f"{languages[name].title}: {times}")
    return "\n".join(lines)


def markdown(cells: Sequence[Cell], languages: Mapping[str, Language], missing: Sequence[str]) -> str:
    """Write the sums, and then languages × cases."""
    titles = [language.title for language in languages.values()]
    lines = ["| language | passed | excused | failed | socket closed after a cancel or leave, ms (median, worst) |"]
    lines.append("|---|---|---|---|---|")
    for name, count in counts(cells).items():
        closed = [cell.closed_after_ms for cell in cells if cell.language == name and cell.closed_after_ms is not None]
        times = f"{median(closed):.1f}, {max(closed):.1f}" if closed else ""
        sums = " | ".join(str(count[outcome]) for outcome in (PASSED, EXCUSED, FAILED))
        lines.append(f"| {languages[name].title} | {sums} | {times} |")
    lines += ["", f"| case | {' | '.join(titles)} |", f"|---|{'---|' * len(titles)}"]
    for case, row in _rows(cells).items():
        lines.append(
            f"| {case} | {' | '.join(_SIGNS[row[name].outcome] if name in row else '' for name in languages)} |"
        )
    lines += [""] + [
        f"- {languages[cell.language].title}, {cell.case}: {cell.outcome}: {cell.why}"
        for cell in cells
        if cell.outcome != PASSED
    ]
    return "\n".join([*lines, *(f"- left out: {why}" for why in missing)]) + "\n"


def _rows(cells: Sequence[Cell]) -> Mapping[str, Mapping[str, Cell]]:
    rows: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        rows.setdefault(cell.case, {})[cell.language] = cell
    return rows
