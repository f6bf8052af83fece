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
from stepwired.events import Batch, Chat, ChatRequest, Finished, Message, MessageStatus, Role, TextDelta
from stepwired.limits import Limits
from stepwired.store.base import ConversationStore

#: How long a call that was cut off stays for its last write. The write itself is done even if this passes.
KEEP_WAIT_S = 5.0

_log = logging.getLogger(__name__)


def recorded(chat: Chat, store: ConversationStore, limits: Limits | None = None) -> Chat:
    """Make `chat` understand `conversation_id`; without one it is what it was, at no cost for each batch.

    With one, `messages` are appended before the model is asked, all or none, and stay if that fails. The model is sent
    the path to the last of them, without hidden messages; `system` holds for this call alone and is not stored.

    The reply is appended below the last message that was sent before `Finished` is passed on, which then carries the
    messages as they were stored. The head moves to it only if nobody else moved the head; otherwise the reply lies on
    a branch and `Finished.branched` is true. A reply that is cut off, by its caller, a failure or the end of the
    server, leaves its text so far as a message with status interrupted; before its first text, nothing. A reply
    without any content leaves nothing either.

    Of `limits`, `request_text_bytes` bounds the path that is sent and `message_text_bytes` what is kept of a reply that
    was cut off.

    The stream raises, beside what `chat` raises, before anything is asked: all that `ConversationStore.begin_reply`
    does, and CONTEXT_LENGTH_EXCEEDED where the path is too long, after the messages were appended; and in place of
    `Finished` what `append_reply` does, if the reply cannot be stored, or PROVIDER_PROTOCOL_ERROR where that is the
    reply's own fault.
    """
    kept = limits or Limits()

    def run(request: ChatRequest) -> AsyncGenerator[Batch, None]:
        return _run(chat, store, kept, request) if request.conversation_id else chat(request)

    return run


async def _run(
    chat: Chat, store: ConversationStore, limits: Limits, request: ChatRequest
) -> AsyncGenerator[Batch, None]:
    conversation_id = request.conversation_id
    last_id = await store.begin_reply(
        conversation_id, request.messages, parent_id=request.parent_id, if_revision=request.if_revision
    )
    path = await _path(store, conversation_id, last_id, limits.request_text_bytes)
    asked = replace(request, messages=path, conversation_id="", parent_id="", if_revision=None)
    texts: list[str] = []
    whole = False
    try:
        # Closed before the `finally` below: the provider must not go on talking while we write.
        async with aclosing(chat(asked)) as batches:
            async for batch in batches:
                texts += [event.text for event in batch if isinstance(event, TextDelta)]
                finished = batch[-1]
                if not isinstance(finished, Finished):
                    yield batch
                    continue
                whole = True
                try:
                    stored = await _store_reply(store, conversation_id, last_id, finished)
                except Broken:
                    whole = False  # it cannot be stored, but its text can
                    raise
                yield [*batch[:-1], stored]
    finally:
        if texts and not whole:
            await _keep(store, conversation_id, last_id, _cut("".join(texts), limits.message_text_bytes))


async def _path(store: ConversationStore, conversation_id: str, last_id: str, limit_bytes: int) -> tuple[Message, ...]:
    """What the model is sent. Reading stops where it is more than the limit."""
    path: list[Message] = []
    size = 0
    async with aclosing(store.messages(conversation_id, MessageView.PATH_TO, last_id)) as pages:
        async for page in pages:
            shown = for_model(page)
            size += sum(map(content_bytes, shown))
            if size > limit_bytes:
                text = f"has more than {limit_bytes} bytes of text on the way to this message: continue from another"
                raise InvalidRequest.of([Violation("conversation_id", text, Reason.CONTEXT_LENGTH_EXCEEDED)])
            path.extend(shown)
    return tuple(path)


def _cut(text: str, limit_bytes: int) -> str:
    """The beginning of a text that UTF-8 says in so many bytes."""
    return text[:limit_bytes].encode("utf-8", "replace")[:limit_bytes].decode("utf-8", "ignore")


async def _store_reply(store: ConversationStore, conversation_id: str, last_id: str, finished: Finished) -> Finished:
    reply = [_fresh(message) for message in finished.messages if not is_empty(message)]
    if not reply:
        return msgspec.structs.replace(finished, branched=False)
    try:
        stored, branched = await store.append_reply(conversation_id, last_id, reply)
    except InvalidRequest as refusal:
        # The request was fine: all that can be wrong is what the model said.
        raise Broken(Reason.PROVIDER_PROTOCOL_ERROR, f"the model's reply cannot be stored: {refusal}") from None
    return msgspec.structs.replace(finished, messages=stored, branched=branched)


async def _keep(store: ConversationStore, conversation_id: str, last_id: str, text: str) -> None:
    """Store an interrupted reply, while the call is already ending for a reason that its caller must still hear of.

    A second cancel ends only the waiting: a store does what was handed over (see `ConversationStore`).
    """
    partial = Message(role=Role.ASSISTANT, text=text, status=MessageStatus.INTERRUPTED)
    try:
        async with asyncio.timeout(KEEP_WAIT_S):
            await store.append_reply(conversation_id, last_id, [partial])
    except (Failure, TimeoutError) as failure:
        reason = failure.reason if isinstance(failure, Failure) else "timeout"
        _log.warning("An interrupted reply was not stored in time: %s", reason)


def _fresh(message: Message) -> Message:
    """The message without what only a store may say."""
    return replace(message, id="", parent_id="", create_time_ns=0, update_time_ns=0)
