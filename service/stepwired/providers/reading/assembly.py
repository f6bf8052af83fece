"""Puts one reply together, for every wire format alike: pieces in, events out, and at the end the whole, checked."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence

from stepwired import jsonschemas, jsonvalue
from stepwired.errors import Failure, Reason, Unavailable
from stepwired.events import (
    ChatOptions,
    Event,
    Finished,
    FinishReason,
    Json,
    Message,
    Reasoning,
    ReasoningDelta,
    Role,
    Started,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCalled,
    ToolUse,
    Usage,
)
from stepwired.limits import KIB
from stepwired.providers import faults
from stepwired.providers.base import Budget
from stepwired.providers.reading.mending import joined, whole
from stepwired.providers.reading.pieces import DEPTH, Pieces, ToolParts, logprob_bytes
from stepwired.providers.refusing.refusals import Asked

TOOL_CALLS = 128
"""Most tool calls of one reply: as many as there may be tools."""

_LIGHT_BYTES = 64 * KIB
_LIGHT_SCHEMA_BYTES = 2 * KIB
"""Of a larger schema it may take a while to say where a reply breaks it: each part on the way there is compiled."""

_WAITING_TOKENS = 4096
"""Most tokens that wait for their text; of more, the first are forgotten. Characters have a handful."""

_MODEL_CHARACTERS = 256
_REASON_CHARACTERS = 64

_CUT = frozenset({FinishReason.LENGTH, FinishReason.CONTENT_FILTER})
"""Reasons after which the last tool call may be half a call."""


class Assembly:
    """One reply while it comes. What is told is added to the list that each method is given.

    Texts may have lone surrogates once `has_surrogates` is set; they are joined, or become U+FFFD. A wire whose
    reader is on every token's way may add to `texts` by itself, as `text` does, while it is not set.

    Args:
        asked: Whom we asked for what, for events and failures.
        budget: Bytes of a reply.
        options: What was asked for: the tools and the format that are checked at the end.
        first_id: Told in the ids of tool calls that came without: whoever sends several turns counts on.
    """

    def __init__(
        self, asked: Asked, budget: Budget | None = None, options: ChatOptions | None = None, first_id: int = 0
    ) -> None:
        self.model = ""
        """The model that answers; empty until `start`."""
        self.reason = FinishReason.UNKNOWN
        self.provider_reason = ""
        self.has_reason = False
        """Whether the model said why it stopped. No text comes after it, so a cut does no harm."""
        self.usage = Usage()
        self.signature = b""
        """What proves the reasoning to its provider, and has to go back with it, unchanged."""
        self.is_refused = False
        """Whether the text is the model's refusal: it need not match any format."""
        self.texts = Pieces()
        self.has_surrogates = False
        self.tool_bytes = 0
        self._asked = asked
        self._budget = budget or Budget()
        self._options = options or ChatOptions()
        self._first_id = first_id
        self._reasonings = Pieces()
        self._tools: dict[Hashable, ToolParts] = {}
        self._half = ""
        self._reasoning_half = ""
        self._waiting: deque[TokenLogprob] = deque(maxlen=_WAITING_TOKENS)
        self._logprob_bytes = 0

    @property
    def is_light(self) -> bool:
        """Whether `finish` costs next to nothing. If not, call it in a thread: it reads and checks large JSON."""
        wanted = self._options.response_format
        if wanted is not None and (len(wanted.schema) > _LIGHT_SCHEMA_BYTES or self.texts.measure() > _LIGHT_BYTES):
            return False
        if self._tools and sum(len(tool.schema) for tool in self._options.tools) > _LIGHT_SCHEMA_BYTES:
            return False
        return self.tool_bytes <= _LIGHT_BYTES

    def start(self, model: str | None, events: list[Event]) -> None:
        """Tell that the answer begins, with the model's name if the provider gives it. Once."""
        self.model = whole(model or "")[:_MODEL_CHARACTERS] or self._asked.model
        events.append(Started(self.model, self._asked.provider))

    def text(self, text: str, events: list[Event], logprobs: tuple[TokenLogprob, ...] = ()) -> None:
        """Add to the text. Tokens whose text is still to come wait for it."""
        if self.has_surrogates and text:
            text, self._half = joined(self._half + text)
        if logprobs:
            self._logprob_bytes += sum(map(logprob_bytes, logprobs))
        if text:
            if self._waiting:
                logprobs = (*self._waiting, *logprobs)
                self._waiting.clear()
            self.texts.append(text)
            events.append(TextDelta(text, logprobs))
        elif logprobs:
            self._waiting.extend(logprobs)

    def think(self, text: str, events: list[Event]) -> None:
        """Add to the reasoning."""
        if self.has_surrogates:
            text, self._reasoning_half = joined(self._reasoning_half + text)
        if text:
            self._reasonings.append(text)
            events.append(ReasoningDelta(text))

    def tool(
        self, key: Hashable, events: list[Event], *, tool_id: str = "", name: str = "", arguments: str = ""
    ) -> ToolParts:
        """Add a piece of a tool call: id and name once, or with each piece; arguments are JSON text.

        Args:
            key: Which call: whatever the wire tells them apart by.
            events: Where a `ToolCallDelta` goes, if the piece has something new.
            tool_id: Its id; of a call that never has one, it is made up.
            name: The tool.
            arguments: More of them.

        Raises:
            Failure: PROVIDER_PROTOCOL_ERROR for more than `TOOL_CALLS`, or PROVIDER_RESPONSE_TOO_LARGE.
        """
        parts = self._tools.get(key)
        if parts is None:
            if len(self._tools) >= TOOL_CALLS:
                raise self.malformed(f"more than {TOOL_CALLS} tool calls")
            parts = self._tools[key] = ToolParts(len(self._tools))
        added = parts.add(tool_id, name, arguments)
        self.tool_bytes += added
        if self.tool_bytes > self._budget.tool_bytes:
            raise faults.too_large(self._asked.provider, "tool calls", self._budget.tool_bytes)
        if added:
            told = parts.told(arguments) if self.has_surrogates else arguments
            events.append(ToolCallDelta(parts.index, parts.id, parts.name, told))
        return parts

    @property
    def last_tool(self) -> tuple[Hashable, ToolParts] | None:
        """The call that began last, with its key."""
        return next(reversed(self._tools.items()), None) if self._tools else None

    def tool_of(self, key: Hashable) -> ToolParts | None:
        """The call of this key, if it has begun."""
        return self._tools.get(key)

    def stop(self, reason: FinishReason, said: str) -> None:
        """Note why the model stopped, and what the provider calls it. The last word holds."""
        self.reason, self.provider_reason, self.has_reason = reason, whole(said)[:_REASON_CHARACTERS], True

    def check_size(self, events: list[Event]) -> int:
        """Refuse a reply that could not be sent, stored and read back. What goes beyond is not told.

        Returns:
            How many bytes of text there may be until the next look.
        """
        room_bytes = text_bytes = self._budget.text_bytes
        for what, size_bytes, most_bytes in (
            ("text", self.texts.measure(), text_bytes),
            ("reasoning", self._reasonings.measure(), text_bytes),
            ("probabilities", self._logprob_bytes, self._budget.logprob_bytes),
        ):
            if size_bytes > most_bytes:
                events.clear()
                raise faults.too_large(self._asked.provider, what, most_bytes)
            room_bytes = min(room_bytes, most_bytes - size_bytes)
        return room_bytes

    def finish(self, events: list[Event]) -> None:
        """Tell the end: whole tool calls, then `Finished`.

        Raises:
            Failure: PROVIDER_STREAM_TRUNCATED: nothing had begun; PROVIDER_PROTOCOL_ERROR: a tool call is none;
                STRUCTURED_OUTPUT_INVALID: a tool call or the text does not match its schema.
        """
        if not self.model:
            raise faults.truncated(self._asked.provider)
        if self._reasoning_half:  # halves whose other half never came
            self._reasonings.append("\ufffd")
            events.append(ReasoningDelta("\ufffd"))
        if self._half:
            self.texts.append("\ufffd")
            events.append(TextDelta("\ufffd"))
        text = "".join(self.texts)
        called = self._called()
        reason = FinishReason.CONTENT_FILTER if self.is_refused else self.reason
        if called and reason in (FinishReason.STOP, FinishReason.UNKNOWN):
            reason = FinishReason.TOOL_USE
        structured = self._structured(text, reason) if not called else None
        events.extend(called)
        events.append(
            Finished(
                reason,
                self.model,
                self._asked.provider,
                self.usage,
                self._messages(text, called),
                structured=structured,
                provider_reason=self.provider_reason,
            )
        )

    def too_large(self, what: str, most_bytes: int) -> Failure:
        """It sent more of `what` than is read."""
        return faults.too_large(self._asked.provider, what, most_bytes)

    def malformed(self, what: str) -> Failure:
        """It sent `what`, which the wire format does not allow."""
        return faults.nonsense(self._asked.provider, f"sent {what}")

    def _called(self) -> list[ToolCalled]:
        called: list[ToolCalled] = []
        # What was cut off must not be executed, nor what may have been.
        is_cut = self.reason in _CUT or (self.reason is FinishReason.UNKNOWN and bool(self.provider_reason))
        for parts in self._tools.values():
            if is_cut and not parts.has_arguments:
                continue
            use = parts.use(f"call_{self._first_id}_{parts.index}")
            if use is not None:
                self._check_use(parts.index, use)
                called.append(ToolCalled(parts.index, use))
            elif self.reason not in _CUT:  # a model that stopped by itself has said all of it
                raise self.malformed("a tool call without a name or with an input that is no JSON object")
        return called

    def _check_use(self, index: int, use: ToolUse) -> None:
        tools = self._options.tools
        if not tools:
            return
        tool = next((tool for tool in tools if tool.name == use.name), None)
        facts = {"toolCall": str(index)}
        if tool is None:
            raise self._unfit("a tool call names no tool that it was given", facts)
        found = jsonschemas.compiled(tool.schema).fault(use.input)  # type: ignore[arg-type]
        if found is not None:
            at, why = found
            raise self._unfit(f"the arguments for {tool.name}: {at} {why}", facts | {"tool": tool.name, "at": at})

    def _structured(self, text: str, reason: FinishReason) -> Json:
        """The text as the JSON that was asked for. What a filter or the model itself withheld need not match."""
        wanted = self._options.response_format
        if wanted is None or reason is FinishReason.CONTENT_FILTER:
            return None
        cut = ", being cut off at the most tokens" if reason is FinishReason.LENGTH else ""
        try:
            value = jsonvalue.parse(text)
        except ValueError as error:
            raise self._unfit(f"the reply is no JSON{cut}: {error}", {"at": "$"}) from None
        if (bad := jsonvalue.fault(value, max_depth=DEPTH, path="$")) is not None:
            raise self._unfit(f"the reply: {bad[0]} {bad[1]}", {"at": bad[0]})
        if not wanted.schema and not isinstance(value, dict):
            raise self._unfit("the reply is no JSON object", {"at": "$"})
        if wanted.schema and (found := jsonschemas.compiled(wanted.schema).fault(value)) is not None:
            raise self._unfit(f"the reply: {found[0]} {found[1]}", {"at": found[0]})
        return value

    def _unfit(self, what: str, facts: dict[str, str]) -> Failure:
        provider = self._asked.provider
        return Unavailable(
            Reason.STRUCTURED_OUTPUT_INVALID,
            f"{provider} sent what does not match its schema: {what}",
            metadata=facts | {"provider": provider},
            subject=self._asked.subject,
        )

    def _messages(self, text: str, called: Sequence[ToolCalled]) -> tuple[Message, ...]:
        thought = "".join(self._reasonings)
        has_thought = thought or self.signature
        reasoning = Reasoning(thought, self.signature, self._asked.provider) if has_thought else None
        messages: list[Message] = []
        if text or not called:
            messages.append(Message(Role.ASSISTANT, text, reasoning))
        for call in called:
            thinking = None if messages else reasoning
            messages.append(Message(Role.ASSISTANT, reasoning=thinking, tool_use=call.tool_use))
        return tuple(messages)
