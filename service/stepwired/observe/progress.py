"""Shows a person how far a download has come: a bar on a terminal, a line for each act anywhere else."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bar


class Report(Protocol):
    """How far one act has come."""

    @property
    def activity(self) -> str:
        """What is being done."""

    @property
    def done_bytes(self) -> int:
        """How much of it is done."""

    @property
    def total_bytes(self) -> int | None:
        """How much there is; None if nobody knows."""


class Progress:
    """Give `report` whatever comes; leave the context when it is over."""

    def __init__(self, out: TextIO) -> None:
        self._console = Console(file=out)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._activity = ""
        self._task = self._bar.add_task("", visible=False)

    def report(self, progress: Report) -> None:
        """Show it."""
        if progress.activity != self._activity:
            self._activity = progress.activity
            if not self._console.is_terminal:
                size = f" ({progress.total_bytes / 1e6:.0f} MB)" if progress.total_bytes else ""
                self._console.print(f"{progress.activity}{size}", highlight=False)
            self._bar.reset(self._task, description=progress.activity, visible=True)
        self._bar.update(self._task, completed=progress.done_bytes, total=progress.total_bytes)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()
