"""Reads pictures from files of this machine, below the roots that its operator named and nowhere else."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterable
from errno import ELOOP, ENOENT, ENOTDIR
from pathlib import Path

from stepwired.images import access_denied, file_not_found, too_large
from stepwired.limits import MIB, Limits

#: Where a system shows itself as files.
_SYSTEM = tuple(Path(folder) for folder in ("/proc", "/sys", "/dev"))

_PIECE_BYTES = MIB

_STEP = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Not blocking: who opens a pipe that nobody writes to would wait for ever.
_LAST = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Files:
    """Files below some roots. Without a root, every path is refused.

    Args:
        roots: Folders.
        limits: `image_bytes`.
    """

    def __init__(self, roots: Iterable[Path], limits: Limits) -> None:
        self._roots = [(root.absolute(), root.resolve()) for root in roots]
        self._limits = limits

    async def read(self, path: str, field: str) -> bytes:
        """The whole file.

        Args:
            path: Absolute.
            field: Path of the request's field, for faults.

        Raises:
            InvalidRequest: FILE_ACCESS_DENIED: outside of all roots, whether it is there or not; no regular file; or
                unreadable. The failure is the same for each. IMAGE_TOO_LARGE.
            NotFound: FILE_NOT_FOUND: nothing is there, within a root.
        """
        return await asyncio.to_thread(self._read, path, field)

    def _read(self, path: str, field: str) -> bytes:
        root, steps = self._place(path)
        try:
            file = _open(root, steps)
        except OSError as error:
            raise file_not_found(path) if error.errno in {ENOENT, ENOTDIR} else access_denied() from None
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise access_denied()
            if status.st_size > self._limits.image_bytes:
                raise too_large(field, self._limits)
            return self._all(file, field)
        except OSError:
            raise access_denied() from None
        finally:
            os.close(file)

    def _all(self, file: int, field: str) -> bytes:
        """What is in it, which may have become more since its size was looked at."""
        pieces, size = [], 0
        while piece := os.read(file, _PIECE_BYTES):
            pieces.append(piece)
            size += len(piece)
            if size > self._limits.image_bytes:
                raise too_large(field, self._limits)
        return b"".join(pieces)

    def _place(self, path: str) -> tuple[Path, tuple[str, ...]]:
        """The root, and the way from it without links and dots.

        Nothing outside of a root is looked at, except where a link within one leads.
        """
        if not path.startswith("/") or "\0" in path or len(path) > 4096:
            raise access_denied()
        normal = Path(os.path.normpath("/" + path.lstrip("/")))
        if not any(normal.is_relative_to(name) for root in self._roots for name in root):
            raise access_denied()
        try:
            real = Path(os.path.realpath(path))
        except (OSError, ValueError):
            raise access_denied() from None
        if any(real.is_relative_to(folder) for folder in _SYSTEM):
            raise access_denied()
        for _, root in self._roots:
            if real.is_relative_to(root) and real != root:
                return root, real.relative_to(root).parts
        raise access_denied()


def _open(root: Path, steps: tuple[str, ...]) -> int:
    """Open it step by step, following no link: none is left, unless somebody put one there a moment ago."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for step in steps[:-1]:
            try:
                inner = os.open(step, _STEP, dir_fd=folder)
            except OSError as error:
                # A link is "not a directory" to some systems, and a file in the middle of a path is too.
                if error.errno == ENOTDIR and _is_link(step, folder):
                    raise OSError(ELOOP, "") from None
                raise
            os.close(folder)
            folder = inner
        return os.open(steps[-1], _LAST, dir_fd=folder)
    finally:
        os.close(folder)


def _is_link(step: str, folder: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(step, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False
