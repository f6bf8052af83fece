"""Keeps blocks of thought so that they go back unchanged: to one `Reasoning`, and from it again.

One block of thought is kept as its text and its signature. What is more, or withheld, is kept as a JSON list in
place of the signature, which never begins like one: of each block its length in the text and its signature.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from stepwired.events import Reasoning


class Thought(msgspec.Struct, array_like=True, frozen=True):
    """One block."""

    characters: int
    """How much of the text is its."""

    signature: str
    """Or the data, where the thought is withheld."""

    is_redacted: bool = False


_decode = msgspec.json.Decoder(list[Thought]).decode


def signature_of(thoughts: Sequence[Thought]) -> bytes:
    """All that has to be kept of these blocks beside their text."""
    if len(thoughts) == 1 and not thoughts[0].is_redacted and not thoughts[0].signature.startswith("["):
        return thoughts[0].signature.encode()
    return msgspec.json.encode(thoughts)


def blocks_of(reasoning: Reasoning) -> list[dict[str, Any]]:
    """The blocks as they came. A thought without a signature is left out: it was cut off, or is none of the wire's."""
    try:
        if reasoning.signature.startswith(b"["):
            thoughts = _decode(reasoning.signature)
        else:
            thoughts = [Thought(len(reasoning.text), reasoning.signature.decode())]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []
    blocks: list[dict[str, Any]] = []
    place = 0
    for thought in thoughts:
        end = place + max(0, thought.characters)
        if thought.is_redacted:
            blocks.append({"type": "redacted_thinking", "data": thought.signature})
        elif thought.signature:
            text = reasoning.text[place:end]
            blocks.append({"type": "thinking", "thinking": text, "signature": thought.signature})
        place = end
    return blocks
