"""Makes a chat safe to repeat: one try of a call at a time, and a whole reply is given again and not made anew."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from stepwired.errors import Conflict, Reason
from stepwired.events import Batch, Chat, ChatRequest, Event, Finished, Started, TextDelta, ToolAnswered, ToolCalled
from stepwired.store.base import ConversationStore
from stepwired.store.nouns import ChatCall, WholeReply
from stepwired.store.refusals import request_id_mismatch
from stepwired.store.replies import call_of


def repeatable(chat: Chat, store: ConversationStore) -> Chat:
    """Make `chat`, around which `recorded` is, understand what a repeat is; a request without id is passed on as it is.

    A repeat within 24 hours of the store's running time gets the reply that is kept, as `Started` with `is_replayed`,
    one `TextDelta` if it has text, each tool call and answer, and `Finished`; nothing of the request is looked at then.
    After a try that failed, was cancelled or ended with its process, it is tried anew.

    The stream raises, beside what `chat` raises:
        Conflict: REQUEST_IN_PROGRESS, a try of this call runs.
        InvalidRequest: REQUEST_ID_MISMATCH, the id belongs to another request.
        NotFound: CONVERSATION_NOT_FOUND, the conversation of the kept reply was deleted.
    """
    running: dict[tuple[str, str], ChatCall] = {}

    def run(request: ChatRequest) -> AsyncGenerator[Batch, None]:
        call = call_of(request)
        return chat(request) if call is None else once(request, call)

    async def once(request: ChatRequest, call: ChatCall) -> AsyncGenerator[Batch, None]:
        place = call.method, call.id
        if (other := running.get(place)) is not None:
            raise _in_progress() if other.digest == call.digest else request_id_mismatch()
        running[place] = call
        try:
            kept = await store.kept_reply(call)
            if kept is not None:
                yield _replay(kept)
                return
            async with aclosing(chat(request)) as batches:
                async for batch in batches:
                    yield batch
        finally:
            del running[place]

    return run


def _replay(kept: WholeReply) -> Batch:
    finished = kept.finished
    started = Started(finished.model, finished.provider, is_replayed=True)
    text = "".join(message.text for message in finished.messages)
    return [started, *([TextDelta(text, kept.logprobs)] if text else []), *_tools(finished), finished]


def _tools(finished: Finished) -> Iterator[Event]:
    index = 0
    for message in finished.messages:
        if message.tool_use is not None:
            yield ToolCalled(index, message.tool_use)
            index += 1
        elif message.tool_result is not None:
            yield ToolAnswered(message.tool_result)
            index = 0  # the calls of each turn count anew


def _in_progress() -> Conflict:
    text = "a call with this request_id runs: wait for its end, then repeat this one to get its reply"
    return Conflict(Reason.REQUEST_IN_PROGRESS, text)
