"""Wakes those who wait for changes of a conversation, without a look at the store."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from stepwired.store.faults import closed


class Bell:
    """One reader's: rings for each change, and keeps what can no longer be read."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self.is_closed = False
        self.deleted: dict[int, int] = {}
        """Conversations that were deleted, by key, with the revision that made."""

    def ring(self) -> None:
        """Wake the reader, now or when it next waits."""
        self._rung.set()

    def mute(self) -> None:
        """Forget what rang so far; call it before reading what there is."""
        self._rung.clear()

    async def wait(self) -> None:
        """Wait until it rings after `mute`.

        Raises:
            Unavailable: STORE_UNAVAILABLE, the store was closed.
        """
        if not self.is_closed:
            await self._rung.wait()
        if self.is_closed:
            raise closed()


class Bells:
    """All readers of one store, by the id of the conversation. Used on the loop alone."""

    def __init__(self) -> None:
        self._bells: defaultdict[str, set[Bell]] = defaultdict(set)
        self._is_closed = False

    @contextmanager
    def listen(self, conversation_id: str) -> Iterator[Bell]:
        """A bell that rings for each change from now on."""
        bell = Bell()
        bell.is_closed = self._is_closed
        self._bells[conversation_id].add(bell)
        try:
            yield bell
        finally:
            self._bells[conversation_id].discard(bell)
            if not self._bells[conversation_id]:
                del self._bells[conversation_id]

    def ring(self, conversation_id: str) -> None:
        """Tell that a conversation changed, and that this is committed."""
        for bell in self._bells.get(conversation_id, ()):
            bell.ring()

    def ring_deleted(self, conversation_id: str, key: int, revision: int) -> None:
        """Tell that a conversation was deleted: after this nobody can read its last revision."""
        for bell in self._bells.get(conversation_id, ()):
            bell.deleted[key] = revision
            bell.ring()

    def close(self) -> None:
        """Wake everybody for the last time."""
        self._is_closed = True
        for bells in self._bells.values():
            for bell in bells:
                bell.is_closed = True
                bell.ring()
