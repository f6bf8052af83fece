"""Reads a reply of the Gemini wire, streamed or whole: bytes in, events out, no I/O."""

from __future__ import annotations

import msgspec

from stepwired.errors import Failure, InvalidRequest, Reason
from stepwired.events import ChatOptions, Event, FinishReason, ReasoningDelta, TextDelta
from stepwired.providers import faults
from stepwired.providers.base import Budget
from stepwired.providers.reading.decoder import Decoder
from stepwired.providers.reading.layout import Layout, relay
from stepwired.providers.reading.mending import MALFORMED, read_mended, whole, written
from stepwired.providers.refusing.refusals import Asked, of_event
from stepwired.providers.wires.gemini.shapes import Candidate, Chunk, Part, read_logprobs, read_usage
from stepwired.providers.wires.gemini.thoughts import Signed, signature_of

_FINISH = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "SAFETY": FinishReason.CONTENT_FILTER,
    "RECITATION": FinishReason.CONTENT_FILTER,
    "LANGUAGE": FinishReason.CONTENT_FILTER,
    "BLOCKLIST": FinishReason.CONTENT_FILTER,
    "PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "SPII": FinishReason.CONTENT_FILTER,
    "IMAGE_SAFETY": FinishReason.CONTENT_FILTER,
    "IMAGE_PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "IMAGE_RECITATION": FinishReason.CONTENT_FILTER,
}
_BROKEN = {
    "MALFORMED_FUNCTION_CALL": "a tool call that it calls malformed",
    "UNEXPECTED_TOOL_CALL": "a tool call that it calls unexpected",
    "TOO_MANY_TOOL_CALLS": "what it calls too many tool calls",
    "MISSING_THOUGHT_SIGNATURE": "what it calls a tool call without its signature",
}
"""Reasons of a reply that is none, though nothing refused it."""

_SEAL_BYTES = 16
"""What a signature takes beside its letters."""

_decode = msgspec.json.Decoder(Chunk).decode


class GeminiDecoder(Decoder):
    """See `Decoder`. Nothing but the stream's end follows the chunk that says why the model stopped.

    Cost: about 1.5 us per chunk.
    """

    def __init__(
        self,
        asked: Asked,
        budget: Budget | None = None,
        options: ChatOptions | None = None,
        first_id: int = 0,
    ) -> None:
        super().__init__(asked, budget, options, first_id)
        self._layout: Layout[Signed] = Layout()
        self._usage = b""
        self._texts = self._reply.texts
        self._unnoted = 0  # characters that the layout does not know of
        self._calls = 0
        self._signed_bytes = 0

    def _read(self, data: bytes, events: list[Event]) -> bool:
        """Add what one chunk says."""
        try:
            chunk = _decode(data)
        except MALFORMED:
            try:
                chunk = read_mended(data, Chunk)
            except ValueError:  # msgspec's refusal is one, too
                raise self._reply.malformed("what is no chunk") from None
            self._reply.has_surrogates = True
        if chunk.error is not None:
            raise of_event(self._asked, {"error": chunk.error})
        if usage := bytes(chunk.usage_metadata):
            self._usage = usage
        if not chunk.candidates:
            self._check_feedback(chunk)
        if not self._reply.model:
            self._reply.start(chunk.model_version, events)
        if chunk.candidates:
            candidate = chunk.candidates[0]
            # Most chunks are a piece of text and nothing else.
            if (text := _plain(candidate)) and not self._reply.has_surrogates:
                self._texts.append(text)
                events.append(TextDelta(text))
                self._unnoted += len(text)
            else:
                self._note()
                self._add(candidate, events)
        return True

    def _check_feedback(self, chunk: Chunk) -> None:
        feedback = chunk.prompt_feedback
        if feedback is not None and feedback.block_reason:
            raise self._blocked(feedback.block_reason)

    def _note(self) -> None:
        """Have the layout know of what came the short way."""
        if self._unnoted:
            self._layout.text(self._unnoted)
            self._unnoted = 0

    def _read_whole(self, body: bytes, events: list[Event]) -> None:
        """Read a reply that was not streamed, or a stream as the JSON list that it is without `alt=sse`."""
        try:
            chunks = msgspec.json.decode(body, type=list[msgspec.Raw]) if body[:64].lstrip()[:1] == b"[" else [body]
        except MALFORMED:
            raise self._reply.malformed("what is no chunk") from None
        for chunk in chunks:
            self._read(bytes(chunk), events)
        if not self._reply.has_reason:
            raise faults.truncated(self._asked.provider)

    def _add(self, candidate: Candidate, events: list[Event]) -> None:
        logprobs = read_logprobs(candidate.logprobs_result)
        for part in (candidate.content.parts if candidate.content else None) or ():
            told = len(events)
            self._add_part(part, events)
            if logprobs and len(events) > told and isinstance(events[-1], TextDelta):
                events[-1] = TextDelta(events[-1].text, logprobs)
                logprobs = ()
        if logprobs:
            self._reply.text("", events, logprobs)
        if (said := candidate.finish_reason) is not None:
            if said in _BROKEN:
                raise self._reply.malformed(_BROKEN[said])
            self._reply.stop(_FINISH.get(said, FinishReason.UNKNOWN), said)

    def _add_part(self, part: Part, events: list[Event]) -> None:
        signature = whole(part.thought_signature or "")
        if signature:
            self._signed_bytes += len(signature) + _SEAL_BYTES
            if self._signed_bytes > self._budget.text_bytes:
                raise faults.too_large(self._asked.provider, "signatures", self._budget.text_bytes)
        if part.function_call is not None:
            self._add_call(part, events)
            if signature:
                self._layout.seal_last(Signed(signature))
        elif part.thought:
            told = len(events)
            self._reply.think(part.text or "", events)
            for event in events[told:]:
                if isinstance(event, ReasoningDelta):
                    self._layout.think(len(event.text))
            if signature:
                self._layout.seal(Signed(before=signature))
        elif part.text is not None:
            self._add_text(part.text, signature, events)

    def _add_text(self, text: str, signature: str, events: list[Event]) -> None:
        is_behind = bool(signature) and not text and self._layout.ends_with_open_text
        if signature and text:
            self._layout.close()  # a signature is of its own part and of no other
        told = len(events)
        self._reply.text(text, events)
        for event in events[told:]:
            if isinstance(event, TextDelta):
                self._layout.text(len(event.text))
        if signature:
            if not is_behind and len(events) == told:
                self._layout.text(0)
            self._layout.seal_last(Signed(behind=signature) if is_behind else Signed(signature))

    def _add_call(self, part: Part, events: list[Event]) -> None:
        call = part.function_call
        assert call is not None, "that is why it is read"
        arguments = written(call.args or {})
        parts = self._reply.tool(self._calls, events, tool_id=call.id or "", name=call.name, arguments=arguments)
        self._calls += 1
        self._layout.tool(parts.index)

    def _blocked(self, said: str) -> Failure:
        category = said[:64] if said.replace("_", "").isalnum() and said.isascii() else ""
        return InvalidRequest(
            Reason.CONTENT_BLOCKED,
            f"{self._asked.provider} will not answer this content",
            metadata={"provider": self._asked.provider} | ({"category": category} if category else {}),
            subject=self._asked.subject,
        )

    def _finish(self, events: list[Event]) -> None:
        self._note()
        self._reply.usage = read_usage(self._usage)
        super()._finish(events)
        relay(self._layout, events, signature_of)


def _plain(candidate: Candidate) -> str | None:
    """Its text, if it has nothing else."""
    content = candidate.content
    if candidate.finish_reason is not None or candidate.logprobs_result is not None or content is None:
        return None
    parts = content.parts
    if not parts or len(parts) != 1:
        return None
    part = parts[0]
    return None if part.thought or part.thought_signature or part.function_call is not None else part.text
