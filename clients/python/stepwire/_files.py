"""Files of the caller, read and written in pieces, off the event loop."""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from errno import EACCES
from functools import partial
from pathlib import Path
from typing import IO, Literal, TypeAlias

from stepwire import _apart

#: Where bytes come from: a path, the bytes themselves, or a file that was opened for reading bytes.
Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]

#: Where bytes go to: a path, or a file that was opened for writing bytes.
Target: TypeAlias = str | os.PathLike[str] | IO[bytes]

CHUNK_BYTES = 256 * 1024
"""The most that a server takes in one piece."""

MAX_NAME_LENGTH = 512
"""How long a file's name is that an error repeats in full."""

CUT_NAME_LENGTH = 64
"""How much an error repeats of one that is longer."""

CLEAN_UP_S = 1.0
"""How long a call that failed waits for what it had written to be removed; a folder far away may take for ever."""


async def chunks(source: Source) -> AsyncGenerator[bytes, None]:
    """Yield the bytes in pieces that a server takes. A file that was given open stays open."""
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        for begin in range(0, len(data), CHUNK_BYTES):
            yield data[begin : begin + CHUNK_BYTES]
        return
    with _apart.Hand() as hand:
        if not isinstance(source, str | os.PathLike):
            read = reader(source)
            while piece := await hand.do(partial(read, CHUNK_BYTES)):
                yield as_bytes(piece)
            return
        opened: list[IO[bytes]] = []
        try:
            await hand.do(lambda: opened.append(_opened(Path(source), "rb")))
            while piece := await hand.do(partial(opened[0].read, CHUNK_BYTES)):
                yield piece
        finally:
            hand.leave(lambda: _close(opened))


@asynccontextmanager
async def written(target: Target) -> AsyncGenerator[Callable[[bytes], Awaitable[object]]]:
    """Open what is to be written, and give what writes to it.

    A file of a path is there when all is written, or not at all: it replaces the one that was there, and has its mode.
    What is there and is no file, such as a pipe or a device, is written to as it is.
    """
    with _apart.Hand() as hand:
        if not isinstance(target, str | os.PathLike):
            given = _writable(target)
            yield lambda piece: hand.do(lambda: _write(given, piece))
            return
        place = _Place(target)
        try:
            await hand.do(place.open)
            yield lambda piece: hand.do(lambda: place.write(piece))
            await hand.do(place.keep)
        finally:
            await asyncio.wait([hand.do(place.drop)], timeout=CLEAN_UP_S)


class _Place:
    """Where a file is to be. Used by one thread, all of it."""

    def __init__(self, target: str | os.PathLike[str]) -> None:
        self._named = Path(target)
        self._real = self._named
        self._part: Path | None = None
        self._file: IO[bytes] | None = None

    def open(self) -> None:
        try:
            status = self._named.stat()
        except FileNotFoundError:
            status = None
        if status is not None and not stat.S_ISREG(status.st_mode):
            self._file = _opened(self._named, "wb")
            return
        self._real = self._named.resolve()  # of a link, the file behind it
        if status is not None and not os.access(self._real, os.W_OK):
            raise PermissionError(EACCES, os.strerror(EACCES), str(self._named))
        # A name of its own: beside it may be files of others, and other writers with the same aim.
        part = self._real.with_name(f".stepwire-{secrets.token_hex(8)}.part")
        try:
            self._file = _opened(part, "xb")
            self._part = part
            if status is not None:
                part.chmod(stat.S_IMODE(status.st_mode))
        except OSError as error:
            raise self._named_by(error) from None

    def write(self, piece: bytes) -> None:
        assert self._file is not None, "it is opened first"
        try:
            _write(self._file, piece)
        except OSError as error:
            raise self._named_by(error) from None

    def keep(self) -> None:
        """All is written."""
        assert self._file is not None, "it is opened first"
        try:
            self._file.close()
            if self._part:
                self._part.replace(self._real)
                self._part = None
        except OSError as error:
            raise self._named_by(error) from None

    def drop(self) -> None:
        """Close it, and remove what is not whole."""
        with suppress(OSError):
            if self._file is not None:
                self._file.close()
            if self._part:
                self._part.unlink()

    def _named_by(self, error: OSError) -> OSError:
        return OSError(error.errno, error.strerror, str(self._named))


def name_of(source: Source) -> str:
    """What the file is called; empty where nothing says so."""
    path = source if isinstance(source, str | os.PathLike) else getattr(source, "name", "")
    return Path(path).name if isinstance(path, str | os.PathLike) else ""


def reader(source: object) -> Callable[[int], object]:
    """What reads from an open file.

    Raises:
        TypeError: It is none.
    """
    read = getattr(source, "read", None)
    if not callable(read):
        raise TypeError(f"a path, bytes or a file opened for reading bytes is needed, not {type(source).__name__}")
    made: Callable[[int], object] = read
    return made


def as_bytes(piece: object) -> bytes:
    """What was read, if it is bytes.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise TypeError('the file gives text: open it with "rb"')
    return bytes(piece)


@contextmanager
def naming_briefly() -> Generator[None]:
    """Cut the name of the file in an error: who gives a file's content for its name shall not find it in a log."""
    try:
        yield
    except OSError as error:
        name = error.filename
        if not isinstance(name, str) or len(name) <= MAX_NAME_LENGTH:
            raise
        raise OSError(error.errno, error.strerror, f"{name[:CUT_NAME_LENGTH]}…") from None


def _opened(path: Path, mode: Literal["rb", "wb", "xb"]) -> IO[bytes]:
    with naming_briefly():
        # Without a buffer: the pieces are large, and its lock would be waited for when the process ends.
        return path.open(mode, buffering=0)


def _close(files: list[IO[bytes]]) -> None:
    with suppress(OSError):  # all that is wanted of it was read
        for file in files:
            file.close()


def _writable(target: IO[bytes]) -> IO[bytes]:
    if not callable(getattr(target, "write", None)):
        raise TypeError(f"a path or a file opened for writing bytes is needed, not {type(target).__name__}")
    return target


def _write(file: IO[bytes], piece: bytes) -> None:
    while piece:  # without a buffer, a pipe may take less than it is given
        count: int | None = file.write(piece)
        piece = b"" if count is None else piece[count:]
