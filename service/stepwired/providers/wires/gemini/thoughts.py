"""Keeps thought signatures so that they go back with the very part they came with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from stepwired.events import Reasoning

UNSIGNED = "skip_thought_signature_validator"
"""What Google has histories say that come from another model, in place of a signature."""

_decode = msgspec.json.Decoder(list[str]).decode


@dataclass(frozen=True, slots=True)
class Signed:
    """The signatures of one message."""

    own: str = ""
    """Of its text or its call."""

    behind: str = ""
    """Of an empty part behind it, in which a stream may bring the signature of a text that is already told."""

    before: str = ""
    """Of the thoughts before it."""


def signature_of(seals: Sequence[Signed]) -> bytes:
    """All that has to be kept: a part's own signature as it is, which is base64, or a JSON list of all three."""
    own, behind, before = (
        next((getattr(seal, name) for seal in seals if getattr(seal, name)), "") for name in ("own", "behind", "before")
    )
    return msgspec.json.encode([own, behind, before]) if behind or before or own.startswith("[") else own.encode()


def signed(reasoning: Reasoning) -> Signed:
    """The signatures as they came; none where they make no sense."""
    try:
        if not reasoning.signature.startswith(b"["):
            return Signed(reasoning.signature.decode())
        own, behind, before = _decode(reasoning.signature)
        return Signed(own, behind, before)
    except (msgspec.MsgspecError, ValueError):
        return Signed()
