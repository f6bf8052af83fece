"""Events of a reply out: the batches of a provider as few messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar, cast

from stepwire.v1 import chat_pb2, message_pb2
from stepwired.events import (
    Batch,
    Event,
    Finished,
    ReasoningDelta,
    Restarted,
    Started,
    TextDelta,
    TokenLogprob,
    ToolAnswered,
    ToolCallDelta,
    ToolCalled,
)
from stepwired.rpc import status
from stepwired.store.codec import replies as codec
from stepwired.store.codec.messages import fill_tool_use
from stepwired.store.codec.replies import logprob_proto

R = TypeVar("R", chat_pb2.StreamChatResponse, chat_pb2.ConverseResponse)

#: Pieces of a reply: the first of them ends the wait for it.
_PIECES = TextDelta | ReasoningDelta | ToolCallDelta | ToolCalled


class ReplyWriter(Generic[R]):
    """Turns the batches of one reply into as few messages as can be.

    Args:
        started_s: When the request arrived, on the clock that `responses` is given.
        limit_bytes: Where a message's text is cut.
        new: Makes the messages.
    """

    __slots__ = ("_limit_bytes", "_new", "_short", "_started_s", "first_event_latency_s")

    def __init__(self, started_s: float, limit_bytes: int, new: Callable[[], R]) -> None:
        self._started_s = started_s
        self._limit_bytes = limit_bytes
        self._new: Callable[[], R] = new
        self._short = limit_bytes // 4  # characters that fit whatever they are
        self.first_event_latency_s: float | None = None

    def responses(self, batch: Batch, now: Callable[[], float]) -> Sequence[R]:
        """Write one batch: neighbouring deltas of a kind joined, cut at the limit, never empty.

        Raises:
            UnicodeEncodeError: A text has half a surrogate pair.
        """
        if self.first_event_latency_s is None:
            if any(isinstance(event, _PIECES) for event in batch):
                self.first_event_latency_s = now() - self._started_s
        elif (
            len(batch) == 1
            and type(only := batch[0]) is TextDelta
            and 0 < len(only.text) <= self._short
            and not only.logprobs
        ):
            # Nearly every message is this one, a token; written field by field it costs less than half.
            response = self._new()
            delta = response.text_delta
            delta.text = only.text
            delta.delta_count = 1
            return (response,)
        return list(self._all(batch))

    def _all(self, batch: Batch) -> Iterator[R]:
        index = 0
        while index < len(batch):
            first, end = batch[index], _end_of_kin(batch, index)
            if isinstance(first, TextDelta | ReasoningDelta | ToolCallDelta):
                yield from self._joined(batch[index:end])
            else:
                yield self._single(first)
            index = end

    def _single(self, event: Event) -> R:
        response: R = self._new()
        match event:
            case Started():
                response.started.model, response.started.provider = event.model, event.provider
                response.started.replayed, response.started.cached = event.is_replayed, event.is_cached
                response.started.SetInParent()
            case ToolCalled():
                use = event.tool_use
                call = response.tool_call
                call.index, call.tool_id, call.name = event.index, use.tool_id, use.name
                fill_tool_use(call.tool_use, use)
            case ToolAnswered():
                result = event.tool_result
                response.tool_result.CopyFrom(
                    message_pb2.ToolResult(tool_id=result.tool_id, result=result.result, is_error=result.is_error)
                )
            case Restarted():
                response.restarted.CopyFrom(
                    chat_pb2.ChatRestarted(
                        attempt=event.attempt, reason=event.reason, model=event.model, provider=event.provider
                    )
                )
            case Finished():
                response.finished.CopyFrom(finished_proto(event, self.first_event_latency_s))
        return response

    def _joined(self, events: Sequence[Event]) -> Iterator[R]:
        """Write neighbouring deltas of a kind."""
        first = events[0]
        if isinstance(first, TextDelta):
            texts = cast(Sequence[TextDelta], events)
            logprobs = [logprob for event in texts if event.logprobs for logprob in event.logprobs]
            yield from self._text("".join([event.text for event in texts]), len(texts), logprobs)
        elif isinstance(first, ReasoningDelta):
            joined = "".join([event.text for event in events if isinstance(event, ReasoningDelta)])
            for piece in self._pieces(joined):
                response = self._new()
                response.reasoning_delta.text = piece
                yield response
        elif isinstance(first, ToolCallDelta):
            calls = [event for event in events if isinstance(event, ToolCallDelta)]
            yield from self._tool_call(calls)

    def _text(self, text: str, count: int, logprobs: list[TokenLogprob]) -> Iterator[R]:
        for piece, tokens in self._with_logprobs(text, logprobs) if logprobs else self._parts(text, ()):
            response = self._new()
            response.text_delta.text = piece
            response.text_delta.delta_count = count
            response.text_delta.logprobs.extend(map(logprob_proto, tokens))
            yield response
            count = 1  # further pieces of what was too long for one message

    def _tool_call(self, events: Sequence[ToolCallDelta]) -> Iterator[R]:
        tool_id = next((event.tool_id for event in events if event.tool_id), "")
        name = next((event.name for event in events if event.name), "")
        for piece in self._pieces("".join([event.arguments for event in events])) or [""]:
            response = self._new()
            call = response.tool_call
            call.index, call.tool_id, call.name, call.arguments_delta = events[0].index, tool_id, name, piece
            yield response

    def _with_logprobs(
        self, text: str, logprobs: Sequence[TokenLogprob]
    ) -> Iterator[tuple[str, Sequence[TokenLogprob]]]:
        """Cut a text where its tokens' probabilities fill a message; no piece is empty."""
        begin = at = size = 0
        held: list[TokenLogprob] = []
        for logprob in logprobs:
            weight = logprob_proto(logprob).ByteSize() + 4
            if held and at > begin and size + weight > self._limit_bytes:
                yield from self._parts(text[begin:at], held)
                begin, size, held = at, 0, []
            held.append(logprob)
            size += weight
            at = min(at + len(logprob.token), len(text) - 1)  # tokens of half a character are longer than their part
        yield from self._parts(text[begin:], held)

    def _parts(self, text: str, logprobs: Sequence[TokenLogprob]) -> Iterator[tuple[str, Sequence[TokenLogprob]]]:
        for piece in self._pieces(text):
            yield piece, logprobs
            logprobs = ()

    def _pieces(self, text: str) -> Sequence[str]:
        if not text:
            return ()
        return (text,) if len(text) <= self._short else list(_cut(text, self._limit_bytes))


def _end_of_kin(batch: Batch, begin: int) -> int:
    """Where the neighbours end that say more of the same thing as the event at `begin`. Looks at each token."""
    kind, end, count = type(batch[begin]), begin + 1, len(batch)
    if kind is TextDelta or kind is ReasoningDelta:
        while end < count and type(batch[end]) is kind:
            end += 1
    elif kind is ToolCallDelta:
        while end < count and _is_more(batch[end - 1], batch[end]):
            end += 1
    return end


def _is_more(event: Event, after: Event) -> bool:
    """Whether `after` is more of the tool call that `event` is of."""
    if not (isinstance(event, ToolCallDelta) and isinstance(after, ToolCallDelta)):
        return False
    return event.index == after.index and _same(event.tool_id, after.tool_id) and _same(event.name, after.name)


def _same(before: str, after: str) -> bool:
    return not after or after == before


def _cut(text: str, limit_bytes: int) -> Iterable[str]:
    """Cut a text into pieces of at most so many bytes of UTF-8, at code points."""
    raw = text.encode()
    begin = 0
    while begin < len(raw):
        end = min(begin + limit_bytes, len(raw))
        while end < len(raw) and raw[end] & 0xC0 == 0x80:
            end -= 1
        yield raw[begin:end].decode()
        begin = end


def finished_proto(event: Finished, first_event_latency_s: float | None) -> chat_pb2.ChatFinished:
    """Write how a reply ended."""
    written = codec.finished_proto(event)
    if first_event_latency_s is not None:
        written.first_event_latency.CopyFrom(status.duration(first_event_latency_s))
    return written


def shown(batch: Batch) -> list[object]:
    """What of a batch may be long JSON, for `aside.write`."""
    found: list[object] = []
    for event in batch:
        if isinstance(event, Finished):
            found += (list(event.messages), event.structured)
        elif isinstance(event, ToolCalled):
            found.append(event.tool_use.input)
    return found
