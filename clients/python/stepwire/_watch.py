"""Watching a conversation through cut connections and restarts of the server."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from stepwire import _requests, errors, stored
from stepwire._connection import Connection
from stepwire.v1 import conversation_pb2

FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 10.0

MIN_HEARTBEAT_S, MAX_HEARTBEAT_S = 1.0, 600.0
"""What a server accepts."""

#: Codes that a connection ends with, as gRPC and proxies say it; a Stepwire server adds a reason.
_CUT = {"UNAVAILABLE", "INTERNAL", "UNKNOWN", "CANCELLED", "DEADLINE_EXCEEDED"}


class WatchCalls:
    """Follows what happens to conversations."""

    _connection: Connection

    async def watch_conversation(
        self,
        conversation_id: str,
        *,
        after_revision: int | None = None,
        heartbeat_s: float = 30.0,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[stored.ConversationChange, None]:
        """Yield every change of a conversation, in order, each exactly once, until it is deleted.

            async for change in client.watch_conversation("c1", after_revision=0):
                if change.message:
                    print(change.revision, change.message.text)
                    break

        A connection that is cut, falls silent or ends with the server is made again, without end, and the changes that
        came meanwhile are told. To go on in another process, pass the last `revision` that you have dealt with.

        Args:
            conversation_id: The conversation.
            after_revision: The changes after this one; 0 for all that there ever were, None for those from now on.
            heartbeat_s: How often the server shows that it is there, 1 second to 10 minutes. A connection without a
                sign for three times as long is made again.
            timeout_s: Seconds for the whole of it; None for no limit.

        Raises:
            errors.NotFound: There is no such conversation, or no longer, and its end was missed.
            errors.InvalidRequest: FEED_COMPACTED: changes since `after_revision` are no longer kept one by one. Read
                the conversation anew and go on from its revision. Also if `heartbeat_s` is out of its bounds.
            errors.DeadlineExceeded: `timeout_s` is over.
        """
        request = _request(conversation_id, after_revision or 0, heartbeat_s)
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        # The beginning must not move when the connection is cut before the first change. This also tells at once if
        # there is no server, which afterwards is waited for.
        about = conversation_pb2.GetConversationRequest(conversation_id=conversation_id)
        now = await self._connection.unary(self._connection.conversations.GetConversation, about, timeout_s)
        if after_revision is None:
            request.after_revision = now.conversation.revision
        pauses = Pauses()
        while True:
            cut: errors.Error | None = None
            try:
                async with aclosing(self._changes(request, deadline, 3 * heartbeat_s, pauses)) as changes:
                    async for change in changes:
                        yield change
                        if change.kind == "deleted":
                            return
            except errors.Error as error:
                if self._connection.is_closed or not _is_cut(error):
                    raise
                cut = error
            await _pause(pauses.next_s(cut.retry_after_s if cut else None), deadline, cut)

    async def _changes(
        self, request: conversation_pb2.WatchConversationRequest, deadline: float, idle_s: float, pauses: Pauses
    ) -> AsyncGenerator[stored.ConversationChange, None]:
        """Yield the changes that one call tells. The request remembers the last of them, for the next call."""
        watch = self._connection.conversations.WatchConversation
        left_s = max(deadline - time.monotonic(), 0)
        async with aclosing(self._connection.stream(watch, request, left_s, idle_s=idle_s)) as responses:
            async for response in responses:
                pauses.reset()
                change = stored.ConversationChange.of(response)
                if change is not None and change.revision > request.after_revision:
                    request.after_revision = change.revision
                    yield change


def _request(conversation_id: str, after: int, heartbeat_s: float) -> conversation_pb2.WatchConversationRequest:
    if not MIN_HEARTBEAT_S <= heartbeat_s <= MAX_HEARTBEAT_S:  # false for NaN, too
        # Here, as a call that is silent for no time at all would be made again for ever.
        why = f"heartbeat_s is {heartbeat_s:g}; it is {MIN_HEARTBEAT_S:g} to {MAX_HEARTBEAT_S:g} seconds"
        raise errors.InvalidRequest(why, code="INVALID_ARGUMENT", reason="FIELD_INVALID")
    with _requests.checked():
        request = conversation_pb2.WatchConversationRequest(conversation_id=conversation_id, after_revision=after)
        request.heartbeat_interval.FromNanoseconds(round(heartbeat_s * 1e9))
    return request


async def _pause(pause_s: float, deadline: float, cut: errors.Error | None) -> None:
    """Wait, but no longer than until the deadline.

    Raises:
        errors.DeadlineExceeded: It has come.
    """
    left_s = deadline - time.monotonic()
    await asyncio.sleep(max(min(pause_s, left_s), 0))
    if pause_s >= left_s:
        raise errors.DeadlineExceeded("the time for this watch is over", code="DEADLINE_EXCEEDED") from cut


class Pauses:
    """How long to wait before each attempt: at once after a success, then longer each time, at random."""

    def __init__(self) -> None:
        self._failures = 0

    def reset(self) -> None:
        """Note a success."""
        self._failures = 0

    def next_s(self, at_least_s: float | None) -> float:
        """Note a failure; the seconds to wait."""
        longest_s = min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 30)) if self._failures else 0.0
        self._failures += 1
        return max(random.uniform(0, longest_s), at_least_s or 0.0)


def _is_cut(error: errors.Error) -> bool:
    if not error.reason:
        return error.code in _CUT
    return isinstance(error, errors.Unavailable) or error.retry_after_s is not None or error.reason == "SLOW_CONSUMER"
