"""The call of ConversationService that tells what changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from stepwire.v1 import conversation_pb2
from stepwired.rpc import aside
from stepwired.rpc.convert import changes as convert
from stepwired.rpc.kept import Context, Kept
from stepwired.store.nouns import Change


class WatchCalls(Kept):
    """Calls that last as long as their caller likes."""

    async def WatchConversation(
        self, request: conversation_pb2.WatchConversationRequest, _: Context
    ) -> AsyncGenerator[conversation_pb2.WatchConversationResponse, None]:
        asked = convert.watch(request)
        revision = asked.after_revision
        if revision is None:
            revision = (await self._store.get(request.conversation_id)).revision
            yield convert.heartbeat(revision)  # what comes next is told, and whoever is cut off knows from where
        changes = self._store.changes(request.conversation_id, revision)
        async with aclosing(_beating(changes, asked.heartbeat_s)) as pages:
            async for page in pages:
                for change in page:
                    revision = change.revision
                    yield await aside.write(convert.change_proto, change, convert.shown(change))
                if not page:
                    yield convert.heartbeat(revision)


async def _beating(
    changes: AsyncGenerator[tuple[Change, ...], None], heartbeat_s: float
) -> AsyncGenerator[tuple[Change, ...], None]:
    """Pass on what changes, with an empty page wherever nothing was passed on for so long. Closes `changes`."""
    # Waited for in a task of its own, because a wait that is given up would end the generator.
    following: asyncio.Task[tuple[Change, ...] | None] | None = None
    try:
        while True:
            if following is None:
                following = asyncio.create_task(_next(changes))
            done, _ = await asyncio.wait((following,), timeout=heartbeat_s)
            if not done:
                yield ()
                continue
            page = following.result()
            following = None
            if page is None:
                return
            yield page
    finally:
        if following is not None:
            following.cancel()
            following.add_done_callback(_heard)
            await asyncio.wait((following,))
        # Not where we are cancelled once more in the line above: `following` is about to end it, and it cannot be ended
        # twice at a time.
        await changes.aclose()


def _heard(task: asyncio.Task[Any]) -> None:
    """Take note of how a task ended that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


async def _next(changes: AsyncGenerator[tuple[Change, ...], None]) -> tuple[Change, ...] | None:
    return await anext(changes, None)
