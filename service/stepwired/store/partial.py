"""What is left of a reply that is cut off."""

from __future__ import annotations

from collections.abc import Iterable

from stepwired.events import (
    Batch,
    Message,
    MessageStatus,
    Restarted,
    Role,
    TextDelta,
    ToolAnswered,
    ToolCalled,
    ToolUse,
)

_CUT = MessageStatus.INTERRUPTED


class Partial:
    """Follows a reply, so that what has come of it can be kept.

    Args:
        limit_bytes: What is kept of the text of one turn, in UTF-8.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._texts: list[str] = []
        self._called: dict[str, ToolUse] = {}
        self._done: list[Message] = []

    def add(self, batch: Batch) -> None:
        """Take note of what has come."""
        for event in batch:
            if isinstance(event, TextDelta):
                self._texts.append(event.text)
            elif isinstance(event, ToolCalled):
                self._called[event.tool_use.tool_id] = event.tool_use
            elif isinstance(event, ToolAnswered):
                self._answer(event)
            elif isinstance(event, Restarted):
                self._texts.clear()
                self._called.clear()
                self._done.clear()

    def messages(self) -> list[Message]:
        """What there is: texts, and each tool call that was answered with its answer. A call without one is none."""
        return [*self._done, *self._text()]

    def _answer(self, event: ToolAnswered) -> None:
        use = self._called.pop(event.tool_result.tool_id, None)
        if use is None:
            return
        self._done += self._text()
        self._texts.clear()
        self._done.append(Message(role=Role.ASSISTANT, tool_use=use, status=_CUT))
        self._done.append(Message(role=Role.TOOL, tool_result=event.tool_result, status=_CUT))

    def _text(self) -> Iterable[Message]:
        if text := _cut("".join(self._texts), self._limit_bytes):
            yield Message(role=Role.ASSISTANT, text=text, status=_CUT)


def _cut(text: str, limit_bytes: int) -> str:
    """The beginning of a text that UTF-8 says in so many bytes."""
    return text[:limit_bytes].encode("utf-8", "replace")[:limit_bytes].decode("utf-8", "ignore")
