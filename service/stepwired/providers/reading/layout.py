"""Keeps in which order a reply's thoughts, texts and tool calls came, where they have to go back in that order.

A message has one text or one tool call, and the thoughts before it. What proves a thought to the provider that made
it goes back with the very part it came with, so a reply is cut into messages where such proofs lie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

from stepwired.events import Event, Finished, Message, Reasoning, Role, ToolCalled, ToolUse

S = TypeVar("S")


@dataclass(slots=True)
class _Part(Generic[S]):
    tool: int | None = None
    """Which tool call; None: text."""

    characters: int = 0
    thought_characters: int = 0
    """Of the thoughts right before it."""

    seals: list[S] = field(default_factory=list)
    is_closed: bool = False
    """Whether more text is a part of its own."""


class Layout(Generic[S]):
    """The parts of one reply, in order. `S` is what the wire calls a proof."""

    def __init__(self) -> None:
        self._parts: list[_Part[S]] = []
        self._next: _Part[S] = _Part()  # has the thoughts that came since the last part

    def think(self, characters: int) -> None:
        """Note a piece of thought, which belongs to the part that comes next."""
        self._next.thought_characters += characters

    def seal(self, seal: S) -> None:
        """Note a proof that comes before its part."""
        self._next.seals.append(seal)

    def text(self, characters: int) -> None:
        """Note a piece of text."""
        last = self._parts[-1] if self._parts else None
        if last is None or last.tool is not None or last.is_closed or self._has_thoughts:
            last = self._begin()
        last.characters += characters

    def tool(self, index: int) -> None:
        """Note that a tool call begins."""
        self._begin().tool = index

    def close(self) -> None:
        """Have text that comes next be a part of its own."""
        if self._parts:
            self._parts[-1].is_closed = True

    def seal_last(self, seal: S) -> None:
        """Note a proof of the part that came last, and close it."""
        if self._parts:
            self._parts[-1].seals.append(seal)
            self._parts[-1].is_closed = True

    @property
    def ends_with_open_text(self) -> bool:
        """Whether a piece of text would continue the last part."""
        return bool(self._parts) and self._parts[-1].tool is None and not self._parts[-1].is_closed

    def messages(
        self, provider: str, text: str, thought: str, uses: Mapping[int, ToolUse], sign: Callable[[list[S]], bytes]
    ) -> tuple[Message, ...]:
        """The reply, ready to be sent back.

        Args:
            provider: Whose it is.
            text: The text of all parts.
            thought: The thoughts of all parts.
            uses: The tool calls that are whole, by their index.
            sign: Makes one signature of a part's proofs, at least one.
        """
        if self._has_thoughts or not self._parts:
            self._begin()
        made: list[Message] = []
        place = thought_place = 0
        last_text = next((part for part in reversed(self._parts) if part.tool is None), None)
        for part in self._parts:
            thinking = thought[thought_place : thought_place + part.thought_characters]
            thought_place += part.thought_characters
            signature = sign(part.seals) if part.seals else b""
            reasoning = Reasoning(thinking, signature, provider) if thinking or signature else None
            if part.tool is not None:
                if use := uses.get(part.tool):
                    made.append(Message(Role.ASSISTANT, reasoning=reasoning, tool_use=use))
                continue
            end = None if part is last_text else place + part.characters
            said, place = text[place:end], place + part.characters
            if said or reasoning or len(self._parts) == 1:
                made.append(Message(Role.ASSISTANT, said, reasoning))
        if text and last_text is None:  # half a character that came before anything else
            made.append(Message(Role.ASSISTANT, text))
        return tuple(made) or (Message(Role.ASSISTANT),)

    @property
    def _has_thoughts(self) -> bool:
        return bool(self._next.thought_characters or self._next.seals)

    def _begin(self) -> _Part[S]:
        part, self._next = self._next, _Part()
        self._parts.append(part)
        return part


def relay(layout: Layout[S], events: list[Event], sign: Callable[[list[S]], bytes]) -> None:
    """Give the last of the events, `Finished`, the reply's messages in the order in which their parts came."""
    finished = events[-1]
    assert isinstance(finished, Finished), "a reply that did not fail ends so"
    text = "".join(message.text for message in finished.messages)
    thoughts = next((message.reasoning for message in finished.messages if message.reasoning), None)
    uses = {event.index: event.tool_use for event in events if isinstance(event, ToolCalled)}
    messages = layout.messages(finished.provider, text, thoughts.text if thoughts else "", uses, sign)
    events[-1] = msgspec.structs.replace(finished, messages=messages)
