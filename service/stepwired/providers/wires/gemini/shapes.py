"""What is read of the JSON that the Gemini wire answers with; what is not named here is skipped."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from stepwired.events import TokenLogprob, Usage
from stepwired.providers.reading.mending import whole
from stepwired.providers.reading.pieces import usage_of

_TOP = 20
_USAGE_BYTES = 4096
_TOKEN_CHARACTERS = 1024


class Call(msgspec.Struct, gc=False):
    """A tool call, whole."""

    name: str = ""
    args: dict[str, Any] | None = None
    id: str | None = None


class Part(msgspec.Struct, rename="camel", gc=False):
    """A piece of the reply."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: Call | None = None


class Content(msgspec.Struct, gc=False):
    """What a chunk adds."""

    parts: list[Part] | None = None


class Token(msgspec.Struct, rename="camel", gc=False):
    """A token, with its probability."""

    token: str = ""
    log_probability: float | None = None


class TopTokens(msgspec.Struct, gc=False):
    """The likeliest tokens of one place."""

    candidates: list[Token] | None = None


class Logprobs(msgspec.Struct, rename="camel", gc=False):
    """The tokens of a chunk."""

    chosen_candidates: list[Token] | None = None
    top_candidates: list[TopTokens] | None = None


class Candidate(msgspec.Struct, rename="camel", gc=False):
    """One reply of the several that could be asked for."""

    content: Content | None = None
    finish_reason: str | None = None
    logprobs_result: Logprobs | None = None
    index: int | None = None


class Feedback(msgspec.Struct, rename="camel", gc=False):
    """What was found against the prompt."""

    block_reason: str | None = None


class Chunk(msgspec.Struct, rename="camel", gc=False):
    """One event."""

    candidates: list[Candidate] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: msgspec.Raw = msgspec.Raw()  # read once, at the end, and with care
    model_version: str | None = None
    error: Any = None


def read_usage(given: bytes) -> Usage:
    """Token counts. Thoughts are counted apart there, and as part of what was written here and elsewhere.

    What is larger than counts are, or cannot be read, says nothing.
    """
    try:
        usage = msgspec.json.decode(given) if 0 < len(given) <= _USAGE_BYTES else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Usage()
    if not isinstance(usage, dict):
        return Usage()
    read = _sum(usage.get("promptTokenCount"), usage.get("toolUsePromptTokenCount"))
    thoughts = usage.get("thoughtsTokenCount")
    written = _sum(usage.get("candidatesTokenCount"), thoughts)
    return usage_of(read, written, thoughts, usage.get("cachedContentTokenCount"))


def read_logprobs(given: Logprobs | None) -> tuple[TokenLogprob, ...]:
    """The tokens of a chunk; those that make no sense are left out."""
    if given is None:
        return ()
    tops = given.top_candidates or []
    found: list[TokenLogprob] = []
    for place, token in enumerate(given.chosen_candidates or ()):
        top = tops[place].candidates if place < len(tops) else None
        found += _token(token, tuple(made for other in (top or [])[:_TOP] for made in _token(other)))
    return tuple(found)


def _token(token: Token, top: tuple[TokenLogprob, ...] = ()) -> list[TokenLogprob]:
    said = token.log_probability
    if said is None or not math.isfinite(said):
        return []
    return [TokenLogprob(whole(token.token[:_TOKEN_CHARACTERS]), float(max(min(said, 0), -1e9)), top)]


def _sum(*counts: Any) -> Any:
    given = [count for count in counts if type(count) in (int, float)]
    return sum(given) if given else None
