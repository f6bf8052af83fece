"""`stepwire embed` and `stepwire search`: vectors, and documents ranked by meaning."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from stepwire import EmbeddingResult
from stepwire.cli import failures
from stepwire.cli.frame import Frame, common, pass_frame, printable

SHOWN_NUMBERS = 4
SHOWN_CHARACTERS = 60

_FILE = click.option(
    "-f", "--file", "lines", type=click.File(encoding="utf-8"), help="Also each line of this file; - is a pipe."
)
_MODEL = click.option("-m", "--model", default="", help="Name or alias of an embedding model. Default: the server's.")


@click.command()
@click.argument("texts", nargs=-1)
@_FILE
@_MODEL
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the vectors to this .npy file, shape (n, d), float32.",
)
@common
@pass_frame
def embed(frame: Frame, texts: tuple[str, ...], lines: IO[str] | None, model: str, output: Path | None) -> None:
    r"""Turn TEXTS into vectors. Without any, each line of a pipe is one.

    \b
    stepwire embed "a kitten sleeps" "the market fell"
    stepwire embed -f lines.txt -o vectors.npy
    """
    todo = _gather(texts, lines)
    found: dict[int, EmbeddingResult] = {}
    with frame.client() as client, closing(client.stream_embeddings(todo, model=model)) as outcomes:
        for outcome in _watched(frame, outcomes, len(todo)):
            found[outcome.index] = outcome
            if frame.is_json:
                frame.emit(_as_json(outcome, todo[outcome.index]))
    failed = [outcome.error for _, outcome in sorted(found.items()) if outcome.error is not None]
    if not frame.is_json and len(failed) == len(todo) and len({error.reason for error in failed}) == 1:
        raise failed[0]  # it is not about the texts
    if output is not None and not failed:
        _save(output, [found[index] for index in range(len(todo))])
        frame.note(f"{len(todo)} vectors written to {output}")
    elif not frame.is_json:
        _show(frame, [found[index] for index in sorted(found)], todo)
    if failed:
        frame.note(f"{len(failed)} of {len(todo)} texts failed{'; nothing was written' if output else ''}", "bold red")
        sys.exit(failures.FAILED)


@click.command()
@click.argument("query")
@click.argument("documents", nargs=-1)
@_FILE
@_MODEL
@click.option("-k", "--top-k", type=click.IntRange(min=1), help="At most this many. Default: all.")
@common
@pass_frame
def search(
    frame: Frame, query: str, documents: tuple[str, ...], lines: IO[str] | None, model: str, top_k: int | None
) -> None:
    r"""Rank DOCUMENTS by how near their meaning is to that of QUERY. Without any, each line of a pipe is one.

    \b
    stepwire search cat "a kitten sleeps" "the market fell"
    stepwire search "how do I log in" -f questions.txt -k 5
    """
    where = _gather(documents, lines)
    with frame.client() as client:
        hits = client.search(query, where, top_k=top_k, model=model)
    table = Table("score", "document", box=None, header_style="dim")
    for hit in hits:
        if frame.is_json:
            frame.emit({"index": hit.index, "score": hit.score, "text": hit.text})
        table.add_row(f"{hit.score:.3f}", _shown(hit.text))
    if not frame.is_json:
        frame.out.print(table)


def _gather(texts: tuple[str, ...], lines: IO[str] | None) -> list[str]:
    """List what was given: the arguments, then the lines of the file, or those of a pipe."""
    if lines is None and not texts:
        if sys.stdin.isatty():
            raise click.UsageError("Give some texts, or a file with --file.")
        lines = sys.stdin
    from_file = [line.rstrip("\r\n") for line in lines or ()]
    if not (found := [*texts, *(line for line in from_file if line.strip())]):
        raise click.UsageError("There is no text in the input.")
    return found


def _watched(frame: Frame, outcomes: Iterable[EmbeddingResult], total: int) -> Iterable[EmbeddingResult]:
    """Show how far it is, where somebody watches and it is worth it."""
    if frame.is_json or total < 2 or not frame.err.is_terminal:
        yield from outcomes
        return
    columns = (TextColumn("embedding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=frame.err, transient=True) as progress:
        task = progress.add_task("", total=total)
        for outcome in outcomes:
            progress.advance(task)
            yield outcome


def _show(frame: Frame, outcomes: list[EmbeddingResult], texts: list[str]) -> None:
    table = Table("text", "numbers", "vector", box=None, header_style="dim")
    for outcome in outcomes:
        text = _shown(texts[outcome.index])
        if outcome.vector is None:
            table.add_row(text, "", f"error: {outcome.error}", style="red")
        else:
            first = " ".join(f"{number:.3f}" for number in outcome.vector[:SHOWN_NUMBERS])
            table.add_row(text, str(len(outcome.vector)), f"{first} …")
    frame.out.print(table)


def _shown(text: str) -> str:

    line = " ".join(printable(text).split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[: SHOWN_CHARACTERS - 1]}…"


def _as_json(outcome: EmbeddingResult, text: str) -> dict[str, Any]:
    if outcome.error is not None:
        return {"index": outcome.index, "text": text, "error": failures.as_json(outcome.error)}
    return {"index": outcome.index, "text": text, "values": [] if outcome.vector is None else outcome.vector.tolist()}


def _save(output: Path, outcomes: list[EmbeddingResult]) -> None:
    import numpy as np

    with output.open("wb") as file:
        np.save(file, np.array([outcome.vector for outcome in outcomes], dtype=np.float32))
