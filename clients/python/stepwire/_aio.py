"""The asyncio client: all calls, over one connection."""

from __future__ import annotations

from typing import Self

from stepwire._chat import ChatCalls
from stepwire._connection import Connection
from stepwire._conversations import ConversationCalls
from stepwire._embed import EmbedCalls
from stepwire._messages import MessageCalls
from stepwire._pipelines import AsyncPipelines
from stepwire._steps import StepCalls
from stepwire._transfer import TransferCalls
from stepwire._watch import WatchCalls

DEFAULT_TARGET = "127.0.0.1:50051"


class AsyncClient(ChatCalls, EmbedCalls, ConversationCalls, MessageCalls, TransferCalls, WatchCalls, StepCalls):
    """Talks to one Stepwire server. Share one client: it carries any number of calls over one connection.

        async with AsyncClient("localhost:50051") as client:
            print(await client.chat("Say hello."))

    Use it within one event loop. Cancelling a task that waits for a call cancels the call, and so does leaving
    a stream early.

    Args:
        target: Address of the server, `host:port`. Nothing is connected before the first call.
        timeout_s: Seconds that a quick call may take, such as a lookup.
        long_timeout_s: Seconds that a call may take that sends a file, or in which a model works: `chat`, `embed`,
            `search`, `collect`.
        idle_s: Seconds that a stream may be silent. Streams have no other limit unless a call names one. The default
            is what a server grants a model for one reply; a dead connection is noticed within 40 seconds anyway.

    Attributes:
        pipelines: The pipelines that the server keeps: `save`, `get`, `list` and `delete`.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout_s: float = 60.0,
        long_timeout_s: float = 600.0,
        idle_s: float = 600.0,
    ) -> None:
        self._connection = Connection(target, timeout_s=timeout_s, long_timeout_s=long_timeout_s, idle_s=idle_s)
        self.pipelines = AsyncPipelines(self._connection)

    async def close(self) -> None:
        """End all calls, which fail with `errors.Cancelled`, and the connection. May be called again."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
