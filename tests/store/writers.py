"""Eight writers that append to one conversation until they are killed, and tell of each answer they get.

Run as `python -m tests.store.writers FOLDER '[last number that writer 0 was answered, ...]'`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path

from stepwired.errors import Conflict
from stepwired.events import Message
from stepwired.store.sqlite import SqliteStore

WRITERS = 8


async def main(folder: Path, answered: list[int]) -> None:
    store = await SqliteStore.open(folder)
    with contextlib.suppress(Conflict):
        await store.create("c")

    async def write(writer: int) -> None:
        number = answered[writer] + 1  # perhaps done before, and not answered: the id makes it safe to repeat
        while True:
            name = f"{writer}-{number}"
            after, _ = await store.append("c", [Message(text=f"text of {name}", id=name)])
            os.write(1, f"{writer} {number} {after.message_count}\n".encode())
            number += 1

    async with asyncio.TaskGroup() as group:
        for writer in range(WRITERS):
            group.create_task(write(writer))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
