"""Appends messages one after the other, and says `ack-N` for each on its standard output.

Run as `python -m tests.soak.appender FOLDER full|relaxed COUNT`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from stepwired.events import Message
from stepwired.store.database import Durability
from stepwired.store.sqlite import SqliteStore


async def main(folder: Path, durability: Durability, count: int) -> None:
    store = await SqliteStore.open(folder, durability=durability)
    await store.create("c")
    for number in range(count):
        await store.append("c", [Message(text="x", id=f"m{number}")])
        os.write(1, f"ack-{number}\n".encode())
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), "relaxed" if sys.argv[2] == "relaxed" else "full", int(sys.argv[3])))
