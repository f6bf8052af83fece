"""Puts a chat on a stored conversation: what the caller says is appended before the model is asked, the reply after."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import msgspec

from stepwired.conversation import MessageView, content_bytes, for_model, is_empty
from stepwired.errors import Broken, Failure, InvalidRequest, Reason, Violation
from stepwired.events import Batch, Chat, ChatRequest, Finished, Message, Restarted, TextDelta, TokenLogprob
from stepwired.limits import Limits
from stepwired.store.base import ConversationStore
from stepwired.store.nouns import ChatCall, WholeReply
from stepwired.store.partial import Partial

#: How long a call that was cut off stays for its last write. The write itself is done even if this passes.
KEEP_WAIT_S = 5.0

_log = logging.getLogger(__name__)


def recorded(chat: Chat, store: ConversationStore, limits: Limits | None = None) -> Chat:
    """Make `chat` understand `conversation_id` and `request_id`; without one it is what it was, at no cost for each
    batch.

    With a conversation, `messages` are appended before the model is asked, all or none, and stay if that fails. The
    model is sent the path to the last of them, without hidden messages; `system` holds for this call alone and is not
    stored.

    The reply is appended below the last message that was sent before `Finished` is passed on, which then carries the
    messages as they were stored. The head moves to it only if nobody else moved the head; otherwise the reply lies on
    a branch and `Finished.branched` is true. A reply that is cut off, by its caller, a failure or the end of the
    server, leaves what there is of it as messages with status interrupted: texts, and tool calls that were answered.
    Before its first text or answer it leaves nothing. A reply without any content leaves nothing either.

    With a `request_id`, a whole reply is kept before `Finished` is passed on (see `repeating`), and a try after one
    that failed appends no message twice.

    Of `limits`, `request_text_bytes` bounds the path that is sent and `message_text_bytes` what is kept of a reply that
    was cut off.

    The stream raises, beside what `chat` raises, before anything is asked: all that `ConversationStore.begin_reply`
    does, and CONTEXT_LENGTH_EXCEEDED where the path is too long, after the messages were appended; and in place of
    `Finished` what `append_reply` does, if the reply cannot be stored, or PROVIDER_PROTOCOL_ERROR where that is the
    reply's own fault.
    """
    kept = limits or Limits()

    def run(request: ChatRequest) -> AsyncGenerator[Batch, None]:
        if request.conversation_id:
            return _Recording(store, kept, request).run(chat)
        return _kept(chat, store, request) if request.request_id else chat(request)

    return run


def call_of(request: ChatRequest) -> ChatCall | None:
    """What makes a request safe to repeat; None if nothing does."""
    if not request.request_id:
        return None
    return ChatCall(request.request_scope, request.request_id, request.request_digest, request.conversation_id)


class _Recording:
    """One reply in a stored conversation."""

    def __init__(self, store: ConversationStore, limits: Limits, request: ChatRequest) -> None:
        self._store = store
        self._limits = limits
        self._request = request
        self._conversation_id = request.conversation_id
        self._call = call_of(request)
        self._logprobs: list[TokenLogprob] = []

    async def run(self, chat: Chat) -> AsyncGenerator[Batch, None]:
        request = self._request
        last_id = await self._store.begin_reply(
            self._conversation_id,
            request.messages,
            parent_id=request.parent_id,
            if_revision=request.if_revision,
            call=self._call,
        )
        path = await read_path(self._store, self._conversation_id, last_id, self._limits.request_text_bytes)
        asked = replace(request, messages=path, conversation_id="", parent_id="", if_revision=None)
        partial = Partial(self._limits.message_text_bytes)
        whole = False
        try:
            # Closed before the `finally` below: the provider must not go on talking while we write.
            async with aclosing(chat(asked)) as batches:
                async for batch in batches:
                    partial.add(batch)
                    if self._call is not None:
                        _take_logprobs(batch, self._logprobs)
                    finished = batch[-1]
                    if not isinstance(finished, Finished):
                        yield batch
                        continue
                    whole = True
                    try:
                        stored = await self._store_reply(last_id, finished)
                    except Broken:
                        whole = False  # it cannot be stored, but its text can
                        raise
                    yield [*batch[:-1], stored]
        finally:
            if not whole and (left := partial.messages()):
                await self._keep(last_id, left)

    async def _store_reply(self, last_id: str, finished: Finished) -> Finished:
        reply = [_fresh(message) for message in finished.messages if not is_empty(message)]
        if not reply:
            told = msgspec.structs.replace(finished, branched=False, parent_id=last_id)
            if self._call is not None:
                await self._store.keep_reply(self._call, WholeReply(told))
            return told
        kept = None if self._call is None else WholeReply(finished, tuple(self._logprobs))
        try:
            stored, branched = await self._store.append_reply(
                self._conversation_id, last_id, reply, call=self._call, reply=kept
            )
        except InvalidRequest as refusal:
            # The request was fine: all that can be wrong is what the model said.
            raise Broken(Reason.PROVIDER_PROTOCOL_ERROR, f"the model's reply cannot be stored: {refusal}") from None
        return msgspec.structs.replace(finished, messages=stored, branched=branched, parent_id=last_id)

    async def _keep(self, last_id: str, left: list[Message]) -> None:
        """Store what is left of a reply, while the call is already ending for a reason that its caller must still hear
        of.

        A second cancel ends only the waiting: a store does what was handed over (see `ConversationStore`).
        """
        try:
            async with asyncio.timeout(KEEP_WAIT_S):
                await self._store.append_reply(self._conversation_id, last_id, left, call=self._call)
        except (Failure, TimeoutError) as failure:
            reason = failure.reason if isinstance(failure, Failure) else "timeout"
            _log.warning("An interrupted reply was not stored in time: %s", reason)


async def _kept(chat: Chat, store: ConversationStore, request: ChatRequest) -> AsyncGenerator[Batch, None]:
    """A reply without a conversation, to be had again."""
    call = call_of(request)
    assert call is not None
    await store.begin_call(call)
    logprobs: list[TokenLogprob] = []
    async with aclosing(chat(request)) as batches:
        async for batch in batches:
            _take_logprobs(batch, logprobs)
            if isinstance(finished := batch[-1], Finished):
                try:
                    await store.keep_reply(call, WholeReply(finished, tuple(logprobs)))
                except Failure as failure:  # it has been paid for: a repeat will pay again, and nobody else need
                    _log.warning("A reply was not kept for repeats: %s", failure.reason)
            yield batch


async def read_path(
    store: ConversationStore, conversation_id: str, last_id: str, limit_bytes: int
) -> tuple[Message, ...]:
    """What a model is sent of a conversation: the way to a message, or to the head if none is named.

    Reading stops where it is more than the limit.

    Raises:
        InvalidRequest: CONTEXT_LENGTH_EXCEEDED, it is more.
        NotFound: CONVERSATION_NOT_FOUND or MESSAGE_NOT_FOUND.
    """
    path: list[Message] = []
    size = 0
    view = MessageView.PATH_TO if last_id else MessageView.HEAD_PATH
    async with aclosing(store.messages(conversation_id, view, last_id)) as pages:
        async for page in pages:
            shown = for_model(page)
            size += sum(map(content_bytes, shown))
            if size > limit_bytes:
                most = f"{limit_bytes} bytes of text on the way to this message"
                text = f"exceeds the context length of any model: has more than {most}; continue from another"
                raise InvalidRequest.of([Violation("conversation_id", text, Reason.CONTEXT_LENGTH_EXCEEDED)])
            path.extend(shown)
    return tuple(path)


def _take_logprobs(batch: Batch, into: list[TokenLogprob]) -> None:
    for event in batch:
        if isinstance(event, TextDelta):
            into += event.logprobs
        elif isinstance(event, Restarted):
            into.clear()


def _fresh(message: Message) -> Message:
    """The message without what only a store may say."""
    return replace(message, id="", parent_id="", create_time_ns=0, update_time_ns=0)
