"""Answers the very same chat request from memory, for callers that allow it. Only whole replies are kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
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
    TokenLogprob,
    ToolCallDelta,
)
from stepwired.limits import KIB
from stepwired.providers.base import Endpoint, ModelEntry
from stepwired.providers.caching.memory import Memory, digest_of, memory_bytes

_LARGE_BYTES = 256 * KIB
"""From here on a request is hashed, and a reply weighed, in a thread."""

_encode = msgspec.json.Encoder(order="sorted").encode


class Replies:
    """Whole replies, by what was asked of whom with whose key.

    Args:
        memory: Where they are kept, weighed by the memory that they take.
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
        if _is_large(request):
            key = await asyncio.to_thread(_key, endpoint, model, request)
        else:
            key = _key(endpoint, model, request)
        if (kept := self._memory.get(key)) is not None:
            yield kept
            return
        joined = _Joined()
        async with aclosing(chat(request)) as batches:
            async for batch in batches:
                for event in batch:
                    joined.add(event)
                yield batch
        events = joined.events()
        if events and isinstance(last := events[-1], Finished) and _is_own(last, endpoint, model):
            reply = tuple(_kept(events, last))
            size_bytes = memory_bytes(reply) if joined.is_light else await asyncio.to_thread(memory_bytes, reply)
            self._memory.put(key, reply, size_bytes)


def _is_own(last: Finished, endpoint: Endpoint, model: ModelEntry) -> bool:
    """Whether the model said all that it wanted to, and no fallback did in its place, at whatever endpoint."""
    if last.reason not in {FinishReason.STOP, FinishReason.TOOL_USE} or last.provider != endpoint.name:
        return False
    answered = last.attempts[-1] if last.attempts else None
    return answered is None or (answered.provider, answered.model) == (endpoint.name, model.provider_model)


def _is_large(request: ChatRequest) -> bool:
    """Whether hashing it may take long: what tools were called with may be of any size, which nobody has counted."""
    size = len(request.system) + sum(len(tool.schema) for tool in request.options.tools)
    for message in request.messages:
        if message.tool_use is not None:
            return True
        size += len(message.text) + sum(len(image.data) for image in message.images)
        size += len(message.tool_result.result) if message.tool_result is not None else 0
        size += len(message.reasoning.text) + len(message.reasoning.signature) if message.reasoning is not None else 0
    return size > _LARGE_BYTES


def _key(endpoint: Endpoint, model: ModelEntry, request: ChatRequest) -> bytes:
    """Of all that the provider is sent, and with whose key. Equal requests have equal keys, and no others."""
    return digest_of(_parts(endpoint, model, request))


def _parts(endpoint: Endpoint, model: ModelEntry, request: ChatRequest) -> Iterator[bytes]:
    yield endpoint.name.encode()
    yield endpoint.identity.encode()
    yield model.provider_model.encode()
    yield request.caller_key.encode() if endpoint.keys == "caller" else b""
    yield request.system.encode()
    yield _encode(replace(request.options, cache=False, restart=False, max_turns=0, tool_timeout_s=0.0))
    for message in request.messages:
        if message.metadata.get("hidden") is not True:
            yield _content(message)
            for image in message.images:  # as many as the content names, as they are: in JSON they would be base64
                yield image.data


def _content(message: Message) -> bytes:
    images = [replace(image, data=b"") for image in message.images]
    said = (message.role, message.text, message.reasoning, message.tool_use, message.tool_result, images)
    return _encode(said)


class _Joined:
    """The events of a reply as they come. Pieces that go on with each other are joined when they end, and once."""

    __slots__ = ("_events", "_first", "_id", "_logprobs", "_name", "_size", "_texts")

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._first: TextDelta | ReasoningDelta | ToolCallDelta | None = None
        self._texts: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._id = ""
        self._name = ""
        self._size = 0

    @property
    def is_light(self) -> bool:
        """Whether the reply is small enough to be weighed at once."""
        return self._size < _LARGE_BYTES

    def add(self, event: Event) -> None:
        """Add the next event."""
        first = self._first
        if type(event) is not type(first) or (
            isinstance(event, ToolCallDelta) and isinstance(first, ToolCallDelta) and event.index != first.index
        ):
            self._join()
            if isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta):
                self._first = event
        if isinstance(event, TextDelta):
            self._texts.append(event.text)
            if event.logprobs:
                self._logprobs += event.logprobs
        elif isinstance(event, ReasoningDelta):
            self._texts.append(event.text)
        elif isinstance(event, ToolCallDelta):
            self._texts.append(event.arguments)
            self._id, self._name = self._id or event.tool_id, self._name or event.name
        elif isinstance(event, Restarted):  # all before it is void
            self._events[:] = [Started(event.model, event.provider)]
        else:
            self._events.append(event)

    def events(self) -> list[Event]:
        """All of them."""
        self._join()
        return self._events

    def _join(self) -> None:
        """End what was going on."""
        if self._first is None:
            return
        text, logprobs = "".join(self._texts), tuple(self._logprobs)
        self._size += len(text) + KIB * len(logprobs)
        match self._first:
            case TextDelta():
                self._events.append(TextDelta(text, logprobs))
            case ReasoningDelta():
                self._events.append(ReasoningDelta(text))
            case ToolCallDelta(index=index):
                self._size += _LARGE_BYTES if len(text) > KIB else 0  # what is small as text may be many values
                self._events.append(ToolCallDelta(index, self._id, self._name, text))
        self._first = None
        self._id = self._name = ""
        self._texts.clear()
        self._logprobs.clear()


def _kept(events: Iterable[Event], finished: Finished) -> Iterator[Event]:
    for event in events:
        if isinstance(event, Started):
            yield Started(event.model, event.provider, is_cached=True)
        elif event is finished:
            usage = replace(finished.usage, cost_usd=0.0)
            yield msgspec.structs.replace(finished, usage=usage, attempts=())
        else:
            yield event
