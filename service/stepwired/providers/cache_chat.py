"""Answers the very same chat request from memory, for callers that allow it. Only whole replies are kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import replace

import msgspec

from stepwired.events import (
    Batch,
    Chat,
    ChatRequest,
    Event,
    Finished,
    FinishReason,
    Message,
    ReasoningDelta,
    Restarted,
    Started,
    TextDelta,
    ToolCallDelta,
)
from stepwired.providers.base import Endpoint, ModelEntry
from stepwired.providers.cache import Memory, digest

_encode = msgspec.json.Encoder(order="sorted").encode


class Replies:
    """Whole replies, by what was asked of whom with whose key.

    Args:
        memory: Where they are kept.
    """

    def __init__(self, memory: Memory[tuple[Event, ...]]) -> None:
        self._memory = memory

    async def chat(
        self, endpoint: Endpoint, model: ModelEntry, request: ChatRequest, chat: Chat
    ) -> AsyncGenerator[Batch, None]:
        """The reply that is kept, as one batch, or what `chat` makes of the request, which is then kept.

        A kept reply has `Started.is_cached`, its pieces joined, and the usage of when it was made, at a cost of 0.
        Kept is what ended by itself, or with tool calls, and only of `model` itself: not what a fallback said.

        Raises:
            Failure: As `chat`.
        """
        key = _key(endpoint, model, request)
        if (kept := self._memory.get(key)) is not None:
            yield kept
            return
        events: list[Event] = []
        async with aclosing(chat(request)) as batches:
            async for batch in batches:
                for event in batch:
                    _add(events, event)
                yield batch
        if events and isinstance(last := events[-1], Finished):
            is_whole = last.reason in {FinishReason.STOP, FinishReason.TOOL_USE}
            if is_whole and last.provider == endpoint.name and len(last.attempts) <= 32:
                reply = tuple(_kept(events, last))
                self._memory.put(key, reply, len(msgspec.json.encode(reply)))


def _key(endpoint: Endpoint, model: ModelEntry, request: ChatRequest) -> bytes:
    """Of all that the provider is sent, and with whose key. Equal requests have equal keys, and no others."""
    options = replace(request.options, cache=False, restart=False, max_turns=0, tool_timeout_s=0.0)
    said = [_content(message) for message in request.messages if message.metadata.get("hidden") is not True]
    return digest(
        endpoint.name.encode(),
        endpoint.identity.encode(),
        model.provider_model.encode(),
        request.caller_key.encode() if endpoint.keys == "caller" else b"",
        request.system.encode(),
        _encode(said),
        _encode(options),
    )


def _content(message: Message) -> tuple[object, ...]:
    return (message.role, message.text, message.reasoning, message.tool_use, message.tool_result, message.images)


def _add(events: list[Event], event: Event) -> None:
    """Add an event to those so far, joined with the one before if it goes on with it."""
    last = events[-1] if events else None
    if isinstance(event, Restarted):  # all before it is void
        events[:] = [Started(event.model, event.provider)]
    elif isinstance(event, TextDelta) and isinstance(last, TextDelta):
        events[-1] = TextDelta(last.text + event.text, last.logprobs + event.logprobs)
    elif isinstance(event, ReasoningDelta) and isinstance(last, ReasoningDelta):
        events[-1] = ReasoningDelta(last.text + event.text)
    elif isinstance(event, ToolCallDelta) and isinstance(last, ToolCallDelta) and event.index == last.index:
        arguments = last.arguments + event.arguments
        events[-1] = ToolCallDelta(event.index, last.tool_id or event.tool_id, last.name or event.name, arguments)
    else:
        events.append(event)


def _kept(events: Iterable[Event], finished: Finished) -> Iterable[Event]:
    for event in events:
        if isinstance(event, Started):
            yield Started(event.model, event.provider, is_cached=True)
        elif event is finished:
            usage = replace(finished.usage, cost_usd=0.0)
            yield msgspec.structs.replace(finished, usage=usage, attempts=())
        else:
            yield event
