"""Replies of models, as `stepwire.v1` writes them: for callers, and to be kept for repeats."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf import duration_pb2
from google.protobuf.message import DecodeError

from stepwire.v1 import chat_pb2, message_pb2
from stepwired.errors import Broken, Misconfigured, Reason, Subject
from stepwired.events import Attempt, Finished, FinishReason, Message, TokenLogprob, Usage, UsageSource
from stepwired.store.codec.messages import message_of, message_proto
from stepwired.store.codec.values import fill_value, json_of_value

_PROVIDER_REASON_BYTES = 64

_FINISH_REASON = {
    FinishReason.UNKNOWN: chat_pb2.FINISH_REASON_UNSPECIFIED,
    FinishReason.STOP: chat_pb2.FINISH_REASON_STOP,
    FinishReason.LENGTH: chat_pb2.FINISH_REASON_LENGTH,
    FinishReason.CONTENT_FILTER: chat_pb2.FINISH_REASON_CONTENT_FILTER,
    FinishReason.TOOL_USE: chat_pb2.FINISH_REASON_TOOL_USE,
}
_FINISH_REASON_OF = {wire: reason for reason, wire in _FINISH_REASON.items()}

_USAGE_SOURCE = {
    UsageSource.ABSENT: message_pb2.USAGE_SOURCE_ABSENT,
    UsageSource.PROVIDER: message_pb2.USAGE_SOURCE_PROVIDER,
    UsageSource.ESTIMATED: message_pb2.USAGE_SOURCE_ESTIMATED,
}
_USAGE_SOURCE_OF = {wire: source for source, wire in _USAGE_SOURCE.items()}


def usage_source_proto(source: UsageSource) -> message_pb2.UsageSource:
    """Write where counts come from."""
    return _USAGE_SOURCE[source]


def usage_proto(usage: Usage) -> message_pb2.Usage:
    """Write token counts and cost; what is unknown stays unset."""
    return message_pb2.Usage(
        source=_USAGE_SOURCE[usage.source],
        input_token_count=usage.input_tokens,
        output_token_count=usage.output_tokens,
        reasoning_token_count=usage.reasoning_tokens,
        cached_input_token_count=usage.cached_input_tokens,
        cost_usd=usage.cost_usd,
        corrected=usage.is_corrected,
    )


def finished_proto(event: Finished) -> chat_pb2.ChatFinished:
    """Write how a reply ended.

    Raises:
        UnicodeEncodeError: A text is none that UTF-8 can say.
        Unstorable: JSON in it could not be read back.
    """
    written = chat_pb2.ChatFinished(
        reason=_FINISH_REASON[event.reason],
        model=event.model,
        provider=event.provider,
        usage=usage_proto(event.usage),
        messages=[message_proto(message) for message in event.messages],
        branched=event.branched,  # type: ignore[arg-type]  # None leaves an optional field unset
        attempts=map(_attempt_proto, event.attempts),
        turns=event.turns,
        provider_reason=_cut(event.provider_reason),
    )
    if event.structured is not None:
        try:
            fill_value(written.structured, event.structured)
        except ValueError:  # deeper, or of larger numbers, than protobuf's JSON can say: the text has it all
            written.ClearField("structured")
    return written


def logprob_proto(given: TokenLogprob) -> chat_pb2.TokenLogprob:
    """Write one token with its probability and its alternatives."""
    return chat_pb2.TokenLogprob(
        token=given.token,
        logprob=given.logprob,
        top=[chat_pb2.TokenLogprob(token=other.token, logprob=other.logprob) for other in given.top],
    )


def encode_reply(finished: Finished, logprobs: Sequence[TokenLogprob] = ()) -> bytes:
    """Serialize a whole reply, to be given again.

    Raises:
        UnicodeEncodeError: A text is none that UTF-8 can say.
        Unstorable: JSON in it could not be read back.
    """
    kept = chat_pb2.ChatResponse(finished=finished_proto(finished), logprobs=map(logprob_proto, logprobs))
    return kept.SerializeToString(deterministic=True)


def decode_reply(body: bytes) -> tuple[Finished, tuple[TokenLogprob, ...]]:
    """Read back what `encode_reply` made.

    Raises:
        Broken: STORE_CORRUPT, the bytes are no reply.
        Misconfigured: STORE_VERSION_UNSUPPORTED, a later version wrote something that this one does not know.
    """
    kept = chat_pb2.ChatResponse()
    try:
        kept.ParseFromString(body)
    except DecodeError:
        text = "a stored reply cannot be read: the store is damaged; restore it from a backup"
        raise Broken(Reason.STORE_CORRUPT, text, subject=Subject("store", "reply")) from None
    return _finished_of(kept.finished), tuple(map(_logprob_of, kept.logprobs))


def _finished_of(wire: chat_pb2.ChatFinished) -> Finished:
    return Finished(
        reason=_FINISH_REASON_OF.get(wire.reason, FinishReason.UNKNOWN),
        model=wire.model,
        provider=wire.provider,
        usage=_usage_of(wire.usage),
        messages=tuple(map(_message_of, wire.messages)),
        branched=wire.branched if wire.HasField("branched") else None,
        attempts=tuple(map(_attempt_of, wire.attempts)),
        turns=wire.turns,
        structured=json_of_value(wire.structured) if wire.HasField("structured") else None,
        provider_reason=wire.provider_reason,
    )


def _message_of(wire: message_pb2.Message) -> Message:
    message = message_of(wire)
    if message is None:
        text = "a stored reply is of a later version of this program: run that one"
        raise Misconfigured(Reason.STORE_VERSION_UNSUPPORTED, text, subject=Subject("store", "reply"))
    return message


def _usage_of(wire: message_pb2.Usage) -> Usage:
    return Usage(
        source=_USAGE_SOURCE_OF.get(wire.source, UsageSource.ABSENT),
        input_tokens=wire.input_token_count if wire.HasField("input_token_count") else None,
        output_tokens=wire.output_token_count if wire.HasField("output_token_count") else None,
        reasoning_tokens=wire.reasoning_token_count if wire.HasField("reasoning_token_count") else None,
        cached_input_tokens=wire.cached_input_token_count if wire.HasField("cached_input_token_count") else None,
        cost_usd=wire.cost_usd if wire.HasField("cost_usd") else None,
        is_corrected=wire.corrected,
    )


def _attempt_proto(attempt: Attempt) -> chat_pb2.ChatAttempt:
    return chat_pb2.ChatAttempt(
        provider=attempt.provider,
        model=attempt.model,
        reason=attempt.reason,
        duration=_duration(attempt.duration_s),
        wait=_duration(attempt.wait_s),
    )


def _attempt_of(wire: chat_pb2.ChatAttempt) -> Attempt:
    return Attempt(wire.provider, wire.model, wire.reason, _seconds(wire.duration), _seconds(wire.wait))


def _logprob_of(wire: chat_pb2.TokenLogprob) -> TokenLogprob:
    return TokenLogprob(wire.token, wire.logprob, tuple(map(_logprob_of, wire.top)))


def _duration(seconds: float) -> duration_pb2.Duration:
    nanos = round(max(seconds, 0.0) * 1e9)
    return duration_pb2.Duration(seconds=nanos // 10**9, nanos=nanos % 10**9)


def _seconds(wire: duration_pb2.Duration) -> float:
    return wire.seconds + wire.nanos / 1e9


def _cut(text: str) -> str:
    return text.encode("utf-8", "replace")[:_PROVIDER_REASON_BYTES].decode("utf-8", "ignore")
