"""`POST /v1/chat/completions`."""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from stepwired.errors import Broken, Failure, Reason, Throttled
from stepwired.events import Chat, ChatRequest, Finished, Restarted, TextDelta
from stepwired.limits import Limits
from stepwired.web.body import read_object
from stepwired.web.convert.chat import chat_request
from stepwired.web.convert.naming import told_by
from stepwired.web.convert.replies import completion
from stepwired.web.exchange import Exchange
from stepwired.web.status import Refused
from stepwired.web.stream import Stream
from stepwired.web.text import quoted


class ChatCompletions:
    """Replies, whole or as they come.

    Args:
        chat: Makes them.
        limits: Of texts and replies.
        body_bytes: Of a request.
    """

    def __init__(self, chat: Chat, limits: Limits, body_bytes: int) -> None:
        self._chat = chat
        self._limits = limits
        self._body_bytes = body_bytes

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        request, is_streamed, has_usage, names = await read_object(
            exchange, self._body_bytes, self._limits, partial(chat_request, limits=self._limits)
        )
        if key := exchange.provider_key():
            request = replace(request, caller_key=key)
        # Callers may choose the request's id, of any characters.
        reply_id, created = quoted(f"chatcmpl-{exchange.request_id}")[1:-1], int(time.time())
        if is_streamed and exchange.is_oldest_http:
            text = "a stream needs HTTP/1.1: older forms cannot tell its end"
            raise Refused(505, "http_version_not_supported", text)
        try:
            if is_streamed:
                await self._stream(request, Stream(exchange, reply_id, created, has_usage=has_usage))
            else:
                await self._whole(request, exchange, reply_id, created)
        except Failure as failure:
            # What a provider itself calls a field may already be what the caller calls it: theirs is OpenAI's form too.
            if not failure.violations or failure.reason is Reason.PROVIDER_REJECTED_REQUEST:
                raise
            raise told_by(failure, names.renamed) from failure

    async def _stream(self, request: ChatRequest, stream: Stream) -> None:
        try:
            # The task is cancelled when the caller hangs up; `aclosing` passes that on at once.
            async with aclosing(self._chat(request)) as batches:
                async for batch in batches:
                    await stream.write(batch)
            await stream.finish()
        finally:
            stream.close()

    async def _whole(self, request: ChatRequest, exchange: Exchange, reply_id: str, created: int) -> None:
        deltas: list[TextDelta] = []
        finished: Finished | None = None
        size = 0
        async with aclosing(self._chat(request)) as batches:
            async for batch in batches:
                for event in batch:
                    if isinstance(event, TextDelta):
                        size += len(event.text)
                        if event.logprobs:
                            deltas.append(event)
                    elif isinstance(event, Restarted):
                        deltas.clear()
                        size = 0
                    elif isinstance(event, Finished):
                        finished = event
                if size > self._limits.reply_bytes:  # leaving stops the model
                    raise _too_large(self._limits)
        if finished is None:
            raise Broken(Reason.INTERNAL, "internal error: a reply ended without its last event")
        await exchange.answer(200, completion(reply_id, created, finished, deltas))


def _too_large(limits: Limits) -> Throttled:
    text = f"the reply is larger than {limits.reply_bytes} bytes: ask for it with `stream`"
    return Throttled(Reason.RESPONSE_TOO_LARGE, text, metadata={"limitBytes": str(limits.reply_bytes)})
