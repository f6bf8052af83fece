from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from pathlib import Path

from stepwired.conversation import MessageView
from stepwired.events import Started
from stepwired.store.repeating import repeatable
from stepwired.store.replies import recorded
from stepwired.store.sqlite import SqliteStore
from tests.rpc.dying import ASKED
from tests.rpc.trying import Model


async def test_a_process_that_was_killed_in_the_middle_leaves_the_question_once(tmp_path: Path) -> None:
    dying = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.rpc.dying", str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert dying.stdout is not None
    assert await asyncio.wait_for(dying.stdout.readline(), 30) == b"half\n"
    dying.kill()
    await dying.wait()
    model = Model()
    store = await SqliteStore.open(tmp_path)
    chat = repeatable(recorded(model.chat, store), store)
    for is_replayed in (False, True):
        async with aclosing(chat(ASKED)) as batches:
            events = [event async for batch in batches for event in batch]
        assert isinstance(events[0], Started)
        assert events[0].is_replayed is is_replayed
    texts = [message.text async for page in store.messages("c", MessageView.ALL) for message in page]
    await store.close()
    assert texts == ["hi", "reply 1!"]
