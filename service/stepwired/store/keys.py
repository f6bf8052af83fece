"""How keys of messages are made: those of a conversation lie side by side, in the order they were appended."""

from __future__ import annotations

#: `key = conversation << SHIFT | seq`; the key of seq 0 stands for "no message".
SHIFT = 32


def span(conversation: int) -> tuple[int, int]:
    """The first and the last key that messages of a conversation can have."""
    return conversation << SHIFT, (conversation + 1 << SHIFT) - 1
