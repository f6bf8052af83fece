"""What the store costs on this machine, for people to read: `python -m tests.soak.figures`, or `make soak`."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path

from stepwired.events import Message
from stepwired.store.sqlite import SqliteStore

LONG = 100_000
TEXT = "Twelve words of some text that is about as long as others are. " * 4


async def timed(call: Awaitable[object]) -> float:
    begun_s = time.monotonic()
    await call
    return time.monotonic() - begun_s


async def append(store: SqliteStore, writers: int, each: int) -> float:
    """Appends a second, each of one message, acknowledged after its fsync."""

    async def write() -> None:
        for _ in range(each):
            await store.append("c", [Message(text=TEXT)])

    return writers * each / await timed(asyncio.gather(*(write() for _ in range(writers))))


async def fill(store: SqliteStore, name: str, count: int) -> None:
    await store.create(name)
    for _ in range(count // 1000):
        await store.append(name, [Message(text=TEXT)] * 1000)


async def tell_appends(store: SqliteStore) -> None:
    await store.create("c")
    alone, eight, many = [await append(store, writers, 1600 // writers) for writers in (1, 8, 64)]
    print(f"appends a second, with fsync: {alone:.0f} alone, {eight:.0f} by 8 writers, {many:.0f} by 64")


async def tell_whole(store: SqliteStore) -> None:
    print(f"{LONG} messages appended by 1,000: {await timed(fill(store, 'c', LONG)):.1f} s")
    messages = [message async for page in store.messages("c") for message in page]
    print(f"{LONG} messages: fork {await timed(store.fork('c', new_id='d')):.2f} s")
    conversation = replace(await store.get("c"), id="e")
    print(f"import {await timed(store.import_(conversation, messages)):.2f} s")
    print(f"delete {await timed(store.delete('d')):.2f} s")
    print(f"search among {2 * LONG}, all of which match: {await timed(store.search('twelve words')):.2f} s")
    print(f"search for what is nowhere: {await timed(store.search('nowhere')):.3f} s")


async def main() -> None:
    for tell in (tell_appends, tell_whole):
        with tempfile.TemporaryDirectory(prefix="stepwire-") as folder:
            store = await SqliteStore.open(Path(folder))
            await tell(store)
            await store.close()


if __name__ == "__main__":
    asyncio.run(main())
