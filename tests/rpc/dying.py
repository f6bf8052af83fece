"""A process that is in the middle of a reply when it is killed: `python -m tests.rpc.dying FOLDER`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from stepwired.events import Batch, ChatRequest, Message, Started, TextDelta
from stepwired.store.repeating import repeatable
from stepwired.store.replies import recorded
from stepwired.store.sqlite import SqliteStore

ASKED = ChatRequest(
    messages=(Message(text="hi"),),
    conversation_id="c",
    request_id="r1",
    request_scope="StreamChat",
    request_digest=b"the same",
)


async def half(_: ChatRequest) -> AsyncGenerator[Batch, None]:
    yield [Started("m", "p"), TextDelta("half")]
    print("half", flush=True)
    await asyncio.Event().wait()


async def main(folder: Path) -> None:
    store = await SqliteStore.open(folder)
    await store.create("c")
    async with aclosing(repeatable(recorded(half, store), store)(ASKED)) as batches:
        async for _ in batches:
            pass


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
