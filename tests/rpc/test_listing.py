"""Pages of conversations that are cut by their size: each read once, and none shown twice or left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stepwired.limits import KIB, Limits
from stepwired.store.sqlite import SqliteStore
from tests.rpc.keeping import Asking
from tests.rpc.serving import serve


async def test_pages_that_bytes_end_show_each_conversation_once_whatever_comes_and_goes(tmp_path: Path) -> None:
    limits = Limits(reply_bytes=100 * KIB)
    store = await SqliteStore.open(tmp_path, limits=limits)
    asked: list[Any] = []
    listing = store.list

    async def counted(**query: Any) -> Any:
        asked.append(query)
        return await listing(**query)

    store.list = counted  # type: ignore[method-assign]
    async with serve(store=store, limits=limits) as client:
        ask = Asking(client)
        for index in range(20):
            await ask.CreateConversation(conversation_id=f"c{index:02}", metadata={"a": "x" * 20_000})
        shown: list[str] = []
        token, pages = "", 0
        while pages == 0 or token:
            page = await ask.ListConversations(page_token=token)
            assert page.ByteSize() <= limits.reply_bytes
            token, pages = page.next_page_token, pages + 1
            shown += [conversation.id for conversation in page.conversations]
            await ask.CreateConversation(metadata={"a": "new"})
            await ask.DeleteConversation(conversation_id=shown[-1])
    await store.close()
    assert shown == [f"c{index:02}" for index in reversed(range(20))]
    assert pages == len(asked)
    assert pages <= 6
