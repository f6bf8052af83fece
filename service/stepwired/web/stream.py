"""Writes the reply of a model as server-sent events, so that the simplest of readers loses none of it.

Such readers take each read of the network for whole events, and lose those that are cut in two. So an event is one
write and one chunk of HTTP, at most 1 KiB of ASCII with LF, and no text follows the one before within a millisecond:
what comes meanwhile is read at once afterwards, and is one event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence

from stepwired.conversation import compact_json
from stepwired.errors import Broken, Reason
from stepwired.events import (
    Batch,
    Event,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCalled,
    ToolUse,
)
from stepwired.web.convert.replies import finish_reason, logprobs_json, tool_call_json, usage_json
from stepwired.web.exchange import Exchange
from stepwired.web.text import WIDEST_BYTES, cut, quoted

EVENT_BYTES = 1024
_APART_S = 0.001

#: Silence after which a comment is written, for proxies that close what is silent.
PING_S = 15.0
_PING = b": ping\n\n"
_DONE = b"data: [DONE]\n\n"

_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class Stream:
    """One reply, while it is written.

    Args:
        exchange: Whom it goes to.
        reply_id: Its id.
        created: When it began, in seconds since 1970.
        has_usage: Whether the usage comes at its end.
    """

    def __init__(self, exchange: Exchange, reply_id: str, created: int, *, has_usage: bool) -> None:
        self._exchange = exchange
        self._send = exchange.send
        self._id = reply_id
        self._created = created
        self._has_usage = has_usage
        self._role = '"role":"assistant",'
        self._tail = '},"logprobs":null,"finish_reason":null}]' + (',"usage":null' if has_usage else "") + "}\n\n"
        self._named("")
        self._written_s = 0.0
        self._calls: set[int] = set()
        self._finished: Finished | None = None
        self._ping: asyncio.TimerHandle | None = None

    async def write(self, batch: Batch) -> None:
        """Write what has come; the first piece of it begins the answer."""
        first = batch[0]
        if type(first) is TextDelta and not first.logprobs:  # the way of a token
            if len(batch) == 1:
                await self._text("content", first.text)
                return
            if all(type(event) is TextDelta and not event.logprobs for event in batch):
                await self._text("content", "".join([event.text for event in batch]))  # type: ignore[union-attr]
                return
        for events in _alike(batch):
            await self._write_alike(events)

    async def finish(self) -> None:
        """Write the end of a whole reply.

        Raises:
            Broken: INTERNAL, it has no end.
        """
        finished = self._finished
        if finished is None:
            raise Broken(Reason.INTERNAL, "internal error: a reply ended without its last event")
        if not self._model:
            self._named(finished.model)
        delta = self._role + '"content":""' if self._role else ""
        usage = ',"usage":null' if self._has_usage else ""
        reason = f'}},"logprobs":null,"finish_reason":"{finish_reason(finished)}"}}]{usage}}}\n\n'
        await self._event((self._head + delta + reason).encode("ascii"))
        if self._has_usage:
            await self._event(
                f'{self._begin()},"choices":[],"usage":{usage_json(finished.usage)}}}\n\n'.encode("ascii")
            )
        await self._send({"type": "http.response.body", "body": _DONE})

    def close(self) -> None:
        """Leave nothing behind."""
        if self._ping is not None:
            self._ping.cancel()

    async def _write_alike(self, events: Sequence[Event]) -> None:
        first = events[0]
        if isinstance(first, TextDelta):
            if first.logprobs:
                await self._token(first)
            else:
                await self._text("content", "".join([event.text for event in events]))  # type: ignore[union-attr]
        elif isinstance(first, ReasoningDelta):
            await self._text("reasoning_content", "".join([event.text for event in events]))  # type: ignore[union-attr]
        elif isinstance(first, ToolCallDelta):
            await self._tool_call(first, "".join([event.arguments for event in events]))  # type: ignore[union-attr]
        elif isinstance(first, ToolCalled):
            await self._whole_call(first.index, first.tool_use)
        elif isinstance(first, Started):
            self._named(first.model)
        elif isinstance(first, Finished):
            self._finished = first

    async def _text(self, name: str, text: str) -> None:
        """Write text in as few events as may be."""
        written = quoted(text)
        if len(written) <= self._room:
            await self._delta(f'"{name}":{written}')
            return
        for piece in cut(text, self._room):
            await self._delta(f'"{name}":{piece}')

    async def _token(self, delta: TextDelta) -> None:
        """Write text with its probabilities: the one event that may be longer."""
        head = f'{self._head}{self._role}"content":{quoted(delta.text)}'
        tail = self._tail.replace('"logprobs":null', f'"logprobs":{logprobs_json(delta.logprobs)}', 1)
        self._role = ""
        await self._paced((head + tail).encode("ascii"))

    async def _tool_call(self, first: ToolCallDelta, arguments: str) -> None:
        index = first.index
        if index not in self._calls:
            self._calls.add(index)
            function = f'{{"name":{quoted(first.name)},"arguments":""}}'
            call = f'{{"index":{index},"id":{quoted(first.tool_id)},"type":"function","function":{function}}}'
            await self._delta(f'"tool_calls":[{call}]')
        if arguments:
            for piece in cut(arguments, self._room):
                await self._delta(f'"tool_calls":[{{"index":{index},"function":{{"arguments":{piece}}}}}]')

    async def _whole_call(self, index: int, use: ToolUse) -> None:
        """Write a call, unless its pieces were written."""
        if index in self._calls:
            return
        written = tool_call_json(use, index)
        if len(written) <= self._room:
            self._calls.add(index)
            await self._delta(f'"tool_calls":[{written}]')
        else:
            await self._tool_call(ToolCallDelta(index, use.tool_id, use.name), compact_json(use.input))

    async def _delta(self, delta: str) -> None:
        event = f"{self._head}{self._role}{delta}{self._tail}".encode("ascii")
        self._role = ""
        await self._paced(event)

    async def _paced(self, event: bytes) -> None:
        """Write an event, but not within a millisecond of the one before."""
        while time.monotonic() - self._written_s < _APART_S:  # noqa: ASYNC110  no event tells that time has passed
            await asyncio.sleep(_APART_S)  # may end early, by the millisecond that timers of the loop count in
        await self._event(event)

    async def _event(self, event: bytes) -> None:
        if not self._exchange.has_started:
            self._exchange.has_events = True
            await self._exchange.start(200, _HEADERS)
            if self._exchange.wire is not None:
                self._ping = asyncio.get_running_loop().call_later(PING_S, self._look)
        await self._send({"type": "http.response.body", "body": event, "more_body": True})
        self._written_s = time.monotonic()

    def _look(self) -> None:
        """Write a comment if nothing else was written for a while."""
        left_s = self._written_s + PING_S - time.monotonic()
        if left_s <= 0:
            assert self._exchange.wire is not None
            self._exchange.wire.push(_PING)
            left_s = PING_S
        self._ping = asyncio.get_running_loop().call_later(left_s, self._look)

    def _begin(self) -> str:
        return (
            f'data: {{"id":"{self._id}","object":"chat.completion.chunk","created":{self._created},'
            f'"model":{quoted(self._model)}'
        )

    def _named(self, model: str) -> None:
        """From now on events say that `model` answers."""
        self._model = model
        self._head = f'{self._begin()},"choices":[{{"index":0,"delta":{{'
        # The longest of what stands around a piece of text.
        around = len(self._head) + len(self._tail) + len('"role":"assistant","tool_calls":[{"index":128,"function":')
        self._room = max(EVENT_BYTES - around - 32, 16 * WIDEST_BYTES)


def _alike(batch: Batch) -> Iterator[Sequence[Event]]:
    """Yield neighbouring pieces that one event can say."""
    run: list[Event] = []
    for event in batch:
        if run and not _goes_on(run[-1], event):
            yield run
            run = []
        run.append(event)
    yield run


def _goes_on(one: Event, other: Event) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, TextDelta):
        return not (one.logprobs or other.logprobs)  # type: ignore[union-attr]
    if isinstance(one, ToolCallDelta):
        return one.index == other.index  # type: ignore[union-attr]
    return isinstance(one, ReasoningDelta)
