"""Chat requests in, events of a reply out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from google.protobuf import json_format

from stepwire.v1 import chat_pb2
from stepwired.errors import InvalidRequest, Reason
from stepwired.events import (
    Batch,
    ChatOptions,
    ChatRequest,
    Finished,
    FinishReason,
    Json,
    Message,
    ModelInfo,
    ReasoningDelta,
    Started,
    TextDelta,
)
from stepwired.limits import Limits
from stepwired.rpc import status
from stepwired.rpc.convert.messages import messages, usage_proto
from stepwired.rpc.violations import Faults
from stepwired.store.codec.messages import message_proto

_MODEL_BYTES = 256
_STOP_TEXTS, _STOP_BYTES = 16, 256
_MAX_INT32 = 2**31 - 1
#: Fields that messages have and chat requests have not.
_MESSAGE_FIELDS = frozenset({"role", "text", "reasoning", "tool_use", "toolUse", "tool_result", "toolResult"})

_FINISH_REASON = {
    FinishReason.UNKNOWN: chat_pb2.FINISH_REASON_UNSPECIFIED,
    FinishReason.STOP: chat_pb2.FINISH_REASON_STOP,
    FinishReason.LENGTH: chat_pb2.FINISH_REASON_LENGTH,
    FinishReason.CONTENT_FILTER: chat_pb2.FINISH_REASON_CONTENT_FILTER,
    FinishReason.TOOL_USE: chat_pb2.FINISH_REASON_TOOL_USE,
}


def chat_request(given: chat_pb2.StreamChatRequest | chat_pb2.ChatRequest, limits: Limits) -> ChatRequest:
    """Read what to reply to.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    faults.text("model", given.model, _MODEL_BYTES)
    faults.text("system", given.system, limits.message_text_bytes)
    faults.text("prompt", given.prompt, limits.message_text_bytes)
    so_far = messages("messages", given.messages, limits, faults)
    faults.id("conversation_id", given.conversation_id)
    faults.id("parent_id", given.parent_id)
    if given.parent_id and not given.conversation_id:
        faults.add("parent_id", "has a meaning only beside a conversation_id")
    revision = given.if_revision if given.HasField("if_revision") else None
    if revision is not None and not given.conversation_id:
        faults.add("if_revision", "has a meaning only beside a conversation_id")
    if not (given.prompt or given.messages or given.conversation_id):
        text = "there is nothing to reply to: set prompt, messages or conversation_id"
        faults.add("prompt", text, Reason.INVALID_CONVERSATION)
    options = chat_options("options", given.options, faults)
    faults.stop()
    if given.prompt:
        so_far = (*so_far, Message(text=given.prompt))
    return ChatRequest(given.model, given.system, so_far, given.conversation_id, given.parent_id, revision, options)


def chat_options(path: str, given: chat_pb2.ChatOptions, faults: Faults) -> ChatOptions:
    """Read how to answer. What is unset stays None."""
    bad = Reason.MODEL_CONFIG_INVALID
    if given.HasField("temperature"):
        faults.within(f"{path}.temperature", given.temperature, 0, 2, bad)
    if given.HasField("top_p") and not 0 < given.top_p <= 1:
        faults.add(f"{path}.top_p", f"is {given.top_p:g}, and must be above 0 and at most 1", bad)
    if given.HasField("max_tokens"):
        faults.within(f"{path}.max_tokens", given.max_tokens, 1, _MAX_INT32, bad)
    if len(given.stop) > _STOP_TEXTS:
        faults.add(f"{path}.stop", f"has {len(given.stop)} items, and the limit is {_STOP_TEXTS}", bad)
    else:
        for index, text in enumerate(given.stop):
            if not text:
                faults.add(f"{path}.stop[{index}]", "is empty", bad)
            faults.text(f"{path}.stop[{index}]", text, _STOP_BYTES, bad)
    if given.HasField("seed"):
        faults.within(f"{path}.seed", given.seed, 0, _MAX_INT32, bad)
    if given.HasField("presence_penalty"):
        faults.within(f"{path}.presence_penalty", given.presence_penalty, -2, 2, bad)
    if given.HasField("frequency_penalty"):
        faults.within(f"{path}.frequency_penalty", given.frequency_penalty, -2, 2, bad)
    return ChatOptions(
        temperature=given.temperature if given.HasField("temperature") else None,
        top_p=given.top_p if given.HasField("top_p") else None,
        max_tokens=given.max_tokens if given.HasField("max_tokens") else None,
        stop=tuple(given.stop),
        seed=given.seed if given.HasField("seed") else None,
        presence_penalty=given.presence_penalty if given.HasField("presence_penalty") else None,
        frequency_penalty=given.frequency_penalty if given.HasField("frequency_penalty") else None,
    )


def chat_request_of_json(value: Json, limits: Limits) -> ChatRequest:
    """Read what a chat step takes: a text, a message, a list of messages, or the fields of `StreamChatRequest`.

    Field names are read as JSON spells them or as the proto does.

    Raises:
        InvalidRequest: It is none of these, or has faults.
    """
    match value:
        case str():
            return chat_request(_parsed({"prompt": value}), limits)
        case list():
            return chat_request(_parsed({"messages": value}), limits)
        case dict() if value.keys() & _MESSAGE_FIELDS:
            return chat_request(_parsed({"messages": [value]}), limits)
        case dict():
            return chat_request(_parsed(value), limits)
        case _:
            raise _not_a_request()


def _parsed(value: dict[str, Json]) -> chat_pb2.StreamChatRequest:
    try:
        return json_format.ParseDict(value, chat_pb2.StreamChatRequest())
    except (json_format.ParseError, ValueError, TypeError):  # its text may hold what the value holds
        unknown = sorted(value.keys() - _REQUEST_FIELDS)
        raise _not_a_request(f"; it has no field `{unknown[0][:64]}`" if unknown else "") from None


_REQUEST_FIELDS = frozenset(
    name for field in chat_pb2.StreamChatRequest.DESCRIPTOR.fields for name in (field.name, field.json_name)
)


def _not_a_request(more: str = "") -> InvalidRequest:
    wanted = "a text, a message, a list of messages, or an object with the fields of StreamChatRequest"
    return InvalidRequest(Reason.STEP_INPUT_INVALID, f"a chat takes {wanted}{more}")


class ReplyWriter:
    """Turns the batches of one reply into as few messages as can be.

    Args:
        started_s: When the request arrived, on the clock that `responses` is given.
        limit_bytes: Where a message's text is cut.
    """

    __slots__ = ("_limit_bytes", "_short", "_started_s", "first_event_latency_s")

    def __init__(self, started_s: float, limit_bytes: int) -> None:
        self._started_s = started_s
        self._limit_bytes = limit_bytes
        self._short = limit_bytes // 4  # characters that fit whatever they are
        self.first_event_latency_s: float | None = None

    def responses(self, batch: Batch, now: Callable[[], float]) -> Sequence[chat_pb2.StreamChatResponse]:
        """Write one batch: neighbouring deltas of a kind joined, cut at the limit, never empty.

        Raises:
            UnicodeEncodeError: A text has half a surrogate pair.
        """
        if self.first_event_latency_s is None:
            if any(isinstance(event, TextDelta | ReasoningDelta) for event in batch):
                self.first_event_latency_s = now() - self._started_s
        elif len(batch) == 1 and type(only := batch[0]) is TextDelta and 0 < len(only.text) <= self._short:
            # Nearly every message is this one, a token; written field by field it costs less than half.
            response = chat_pb2.StreamChatResponse()
            delta = response.text_delta
            delta.text = only.text
            delta.delta_count = 1
            return (response,)
        return list(self._all(batch))

    def _all(self, batch: Batch) -> Iterable[chat_pb2.StreamChatResponse]:
        index = 0
        while index < len(batch):
            first = batch[index]
            end = index + 1
            if isinstance(first, TextDelta | ReasoningDelta):
                while end < len(batch) and type(batch[end]) is type(first):
                    end += 1
                yield from self._joined(first, [event.text for event in batch[index:end]])  # type: ignore[union-attr]
            elif isinstance(first, Started):
                started = chat_pb2.ChatStarted(model=first.model, provider=first.provider)
                yield chat_pb2.StreamChatResponse(started=started)
            elif isinstance(first, Finished):
                yield chat_pb2.StreamChatResponse(finished=finished_proto(first, self.first_event_latency_s))
            index = end

    def _joined(self, kind: TextDelta | ReasoningDelta, texts: list[str]) -> Iterable[chat_pb2.StreamChatResponse]:
        text = "".join(texts)
        pieces = [text] if len(text) <= self._short else _pieces(text, self._limit_bytes)
        count = len(texts)
        for piece in pieces:
            if not piece:
                continue
            if isinstance(kind, ReasoningDelta):
                yield chat_pb2.StreamChatResponse(reasoning_delta=chat_pb2.ReasoningDelta(text=piece))
            else:
                yield chat_pb2.StreamChatResponse(text_delta=chat_pb2.TextDelta(text=piece, delta_count=count))
            count = 1  # further pieces of what was too long for one message


def _pieces(text: str, limit_bytes: int) -> Iterable[str]:
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
    latency = None if first_event_latency_s is None else status.duration(first_event_latency_s)
    return chat_pb2.ChatFinished(
        reason=_FINISH_REASON[event.reason],
        model=event.model,
        provider=event.provider,
        usage=usage_proto(event.usage),
        messages=[message_proto(message) for message in event.messages],
        branched=event.branched,  # type: ignore[arg-type]  # None leaves an optional field unset
        first_event_latency=latency,
    )


def model_proto(info: ModelInfo) -> chat_pb2.Model:
    """Write one model that can chat."""
    return chat_pb2.Model(
        name=info.name,
        aliases=info.aliases,
        provider=info.endpoint,
        provider_model=info.provider_model,
        is_default=info.is_default,
    )
