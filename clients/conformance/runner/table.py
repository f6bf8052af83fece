"""Plays every case in every language, and keeps what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clients.conformance.runner.cases import Book, Case
from clients.conformance.runner.drivers import DriverFault
from clients.conformance.runner.languages import Language
from clients.conformance.runner.observing import Mismatch
from clients.conformance.runner.playing import play
from clients.conformance.runner.stage import Troupe, staging

PASSED, FAILED, EXCUSED = "passed", "failed", "excused"


@dataclass(frozen=True, slots=True)
class Cell:
    """What came of one case in one language.

    Attributes:
        outcome: `passed`, `failed`, or `excused`: it failed, as is known, for a reason that is known.
        why: What differed; if that is excused, the reason.
        took_ms: How long it was played.
        closed_after_ms: From the cancel to the closing of the provider's socket, where the case looks at that.
    """

    language: str
    case: str
    outcome: str
    why: str = ""
    took_ms: float = 0.0
    closed_after_ms: float | None = None

    def json(self) -> dict[str, Any]:
        """Write it as JSON."""
        return asdict(self)


Progress = Callable[[Cell], None]


async def table(
    languages: Mapping[str, Language], cases: Sequence[Case], book: Book, folder: Path, progress: Progress
) -> list[Cell]:
    """Play these cases in these languages, which run side by side, each case by case."""
    async with staging(folder) as stage, AsyncExitStack() as stack:
        troupes = [Troupe(stage, name, language, stack) for name, language in languages.items()]
        async with asyncio.TaskGroup() as group:
            columns = [group.create_task(_column(troupe, cases, book, progress)) for troupe in troupes]
    return [cell for column in columns for cell in column.result()]


async def _column(troupe: Troupe, cases: Sequence[Case], book: Book, progress: Progress) -> list[Cell]:
    cells = []
    for case in cases:
        cells.append(await _cell(troupe, case, book))
        progress(cells[-1])
    return cells


async def _cell(troupe: Troupe, case: Case, book: Book) -> Cell:
    begun_s = time.monotonic()
    excuse = book.excuse(troupe.name, case.name)
    closed_after_ms = None
    try:
        closed_after_ms = await play(case, troupe)
    except Mismatch as fault:
        outcome, why = FAILED, str(fault)
        if excuse and why == excuse.seen:
            outcome, why = EXCUSED, excuse.reason
    except DriverFault as fault:
        outcome, why = FAILED, str(fault)
    except Exception as fault:  # noqa: BLE001 - of this case, or of its message: the others are played
        outcome, why = FAILED, repr(fault)
    else:
        outcome, why = (FAILED, f"passes, and needs no excuse: {excuse.reason}") if excuse else (PASSED, "")
    took_ms = (time.monotonic() - begun_s) * 1000
    return Cell(troupe.name, case.name, outcome, why, took_ms, closed_after_ms)


def counts(cells: Sequence[Cell]) -> Mapping[str, Mapping[str, int]]:
    """Count each outcome of each language."""
    found: dict[str, dict[str, int]] = {}
    for cell in cells:
        of_it = found.setdefault(cell.language, {PASSED: 0, FAILED: 0, EXCUSED: 0})
        of_it[cell.outcome] += 1
    return found
