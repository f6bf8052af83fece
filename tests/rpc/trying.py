"""A model that says which try of a call it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from stepwired.errors import Reason, Unavailable
from stepwired.events import Batch, ChatRequest, TextDelta, TokenLogprob
from tests.rpc.serving import STARTED, finished


class Model:
    """Answers with the number of the try; fails or waits in the middle if it is told to."""

    def __init__(self) -> None:
        self.asked: list[ChatRequest] = []
        self.fails = False
        self.before_text = False
        self.waits: asyncio.Event | None = None
        self.reached = asyncio.Event()

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        self.asked.append(request)
        number = len(self.asked)
        if self.before_text:
            raise Unavailable(Reason.PROVIDER_OVERLOADED, "too many")
        yield [STARTED, TextDelta(f"reply {number}", (TokenLogprob("reply", -0.5),))]
        self.reached.set()
        if self.waits is not None:
            await self.waits.wait()
        if self.fails:
            raise Unavailable(Reason.PROVIDER_STREAM_TRUNCATED, "broke off")
        yield [TextDelta("!"), finished(f"reply {number}!")]
