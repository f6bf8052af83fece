"""A whole reply, of the events that it came in."""

from __future__ import annotations

import time

from stepwire.v1 import chat_pb2
from stepwired.errors import Broken, Reason
from stepwired.events import (
    Batch,
    Finished,
    ReasoningDelta,
    Restarted,
    Started,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCalled,
)
from stepwired.rpc import aside
from stepwired.rpc.convert.replies import finished_proto, shown
from stepwired.rpc.convert.values import too_large
from stepwired.store.codec.replies import logprob_proto

#: A token with its probability takes at least so many bytes, and so do its alternatives.
_LOGPROB_BYTES = 12


class Collected:
    """Takes the batches of one reply.

    Args:
        started_s: When the request arrived.
        limit_bytes: What the response may take.
    """

    def __init__(self, started_s: float, limit_bytes: int) -> None:
        self._started_s = started_s
        self._limit_bytes = limit_bytes
        self._latency_s: float | None = None
        self._texts: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._least_bytes = 0
        self._started: Started | None = None
        self._finished: Finished | None = None

    def add(self, batch: Batch) -> None:
        """Take what has come.

        Raises:
            Throttled: RESPONSE_TOO_LARGE.
        """
        for event in batch:
            if isinstance(event, TextDelta):
                self._texts.append(event.text)
                self._logprobs += event.logprobs
                self._least_bytes += 2 * len(event.text)  # sent twice
                self._least_bytes += sum(_LOGPROB_BYTES * (1 + len(each.top)) for each in event.logprobs)
            elif isinstance(event, Restarted):
                self._texts.clear()
                self._logprobs.clear()
                self._least_bytes = 0
            elif isinstance(event, Started):
                self._started = event
            elif isinstance(event, Finished):
                self._finished = event
            if self._latency_s is None and isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta | ToolCalled):
                self._latency_s = time.monotonic() - self._started_s
        if self._least_bytes > self._limit_bytes:
            raise too_large(self._limit_bytes, "StreamChat")

    async def response(self) -> chat_pb2.ChatResponse:
        """Write the whole.

        Raises:
            Throttled: RESPONSE_TOO_LARGE.
            Broken: INTERNAL, the reply has no end.
            UnicodeEncodeError: A text has half a surrogate pair.
        """
        if self._finished is None:
            raise Broken(Reason.INTERNAL, "internal error: a reply ended without its last event")
        response = await aside.write(self._written, self._finished, shown([self._finished]))
        if response.ByteSize() > self._limit_bytes:
            raise too_large(self._limit_bytes, "StreamChat")
        return response

    def _written(self, finished: Finished) -> chat_pb2.ChatResponse:
        started = self._started
        return chat_pb2.ChatResponse(
            text="".join(self._texts),
            finished=finished_proto(finished, self._latency_s),
            logprobs=map(logprob_proto, self._logprobs),
            replayed=started is not None and started.is_replayed,
            cached=started is not None and started.is_cached,
        )
