"""Files of the caller, read and written in pieces, off the event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, TypeAlias

#: Where bytes come from: a path, the bytes themselves, or a file that was opened for reading bytes.
Source: TypeAlias = str | os.PathLike[str] | bytes | IO[bytes]

#: Where bytes go to: a path, or a file that was opened for writing bytes.
Target: TypeAlias = str | os.PathLike[str] | IO[bytes]

CHUNK_BYTES = 256 * 1024
"""The most that a server takes in one piece."""


async def chunks(source: Source) -> AsyncGenerator[bytes, None]:
    """Yield the bytes in pieces that a server takes. A file that was given open stays open."""
    if isinstance(source, bytes):
        for begin in range(0, len(source), CHUNK_BYTES):
            yield source[begin : begin + CHUNK_BYTES]
    elif isinstance(source, str | os.PathLike):
        file = await asyncio.to_thread(Path(source).open, "rb")
        try:
            while piece := await asyncio.to_thread(file.read, CHUNK_BYTES):
                yield piece
        finally:
            file.close()
    else:
        while piece := await asyncio.to_thread(source.read, CHUNK_BYTES):
            yield _bytes(piece)


@asynccontextmanager
async def written(target: Target) -> AsyncGenerator[Callable[[bytes], Awaitable[object]]]:
    """Open what is to be written, and give what writes to it. A path is there when all is written, or not at all."""
    if not isinstance(target, str | os.PathLike):
        yield _writing(target)
        return
    path = Path(target)
    part = path.with_name(f"{path.name}.part")
    file = await asyncio.to_thread(part.open, "wb")
    is_whole = False
    try:
        yield _writing(file)
        is_whole = True
    finally:
        file.close()
        if is_whole:
            part.replace(path)
        else:
            part.unlink()


def _writing(file: IO[bytes]) -> Callable[[bytes], Awaitable[object]]:
    return lambda piece: asyncio.to_thread(file.write, piece)


def name_of(source: Source) -> str:
    """What the file is called; empty where nothing says so."""
    path = source if isinstance(source, str | os.PathLike) else getattr(source, "name", "")
    return Path(path).name if isinstance(path, str | os.PathLike) else ""


def _bytes(piece: object) -> bytes:
    if not isinstance(piece, bytes):
        raise TypeError('the file gives text: open it with "rb"')
    return piece
