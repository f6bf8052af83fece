"""Notes what a server sends to a program, and changes none of it: each read of one side is a write to the other."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Self
from urllib.parse import urlsplit


class Recording:
    """A port that leads to a server.

    Args:
        target: The server, as in `http://127.0.0.1:8080`.
    """

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._tasks: set[asyncio.Task[None]] = set()
        self._raw: list[bytearray] = []

    @property
    def replies(self) -> list[str]:
        """The text of each streamed reply, in the order in which they began."""
        return [text(bytes(raw)) for raw in self._raw]

    def clear(self) -> None:
        """Forget what was sent so far."""
        self._raw.clear()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        there, away = await asyncio.open_connection(self._target.hostname, self._target.port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, away))
                both.create_task(_copy(there, writer, self._raw))
        finally:
            for each in (writer, away):
                each.close()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, replies: list[bytearray] | None = None
) -> None:
    raw = bytearray()
    while data := await reader.read(65_536):
        if replies is not None:
            if data.startswith(b"HTTP/1.1 "):
                raw = bytearray()
                replies.append(raw)
            raw += data
        writer.write(data)
        await writer.drain()
    writer.write_eof()


def text(reply: bytes) -> str:
    """The text of a streamed reply."""
    events = re.findall(rb"^data: (\{.*\})$", reply, re.MULTILINE)
    choices = [json.loads(event)["choices"] for event in events]
    return "".join(each[0]["delta"].get("content") or "" for each in choices if each)
