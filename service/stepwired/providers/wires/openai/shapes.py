"""What is read of the JSON that the OpenAI wire answers with. Names and ids, which each chunk repeats, are skipped."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import msgspec

from stepwired.events import TokenLogprob, Usage
from stepwired.providers.reading.mending import whole
from stepwired.providers.reading.pieces import usage_of

_TOP = 20
_TOKEN_CHARACTERS = 1024


class Function(msgspec.Struct, gc=False):
    """A piece of a tool's name or input; some servers give the input as an object."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class ToolCall(msgspec.Struct, gc=False):
    """A piece of a tool call."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct, gc=False):
    """What a chunk adds."""

    content: str | None = None
    parts: list[Any] | None = None  # content that is none of ours alone
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Any] | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None


class Choice(msgspec.Struct, gc=False):
    """One reply of the several that could be asked for."""

    index: int | None = None
    delta: Delta | None = None
    finish_reason: str | None = None
    logprobs: Any = None


class Chunk(msgspec.Struct, gc=False):
    """One event of a chat completion."""

    choices: list[Choice] | None = None
    usage: Any = None  # read once, at the end, and with care
    error: Any = None


class FirstChunk(Chunk, gc=False):
    """The first event, of which the model is read too."""

    model: str | None = None


class WholeChoice(msgspec.Struct, gc=False):
    """One reply that was not streamed."""

    index: int | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    logprobs: Any = None


class Completion(msgspec.Struct, gc=False):
    """A reply that was not streamed."""

    choices: list[WholeChoice] | None = None
    usage: Any = None
    error: Any = None
    model: str | None = None


def read_usage(usage: Any, *, says_cost: bool = False) -> Usage:
    """Token counts of a usage object, as `pieces.usage_of` keeps them in bounds; the cost, if it is known to be one."""
    if not isinstance(usage, dict):
        return Usage()
    read = usage.get("prompt_tokens_details")
    written = usage.get("completion_tokens_details")
    cached = read.get("cached_tokens") if isinstance(read, dict) else usage.get("prompt_cache_hit_tokens")
    counted = usage_of(
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
        written.get("reasoning_tokens") if isinstance(written, dict) else None,
        cached,
    )
    cost = usage.get("cost")
    if not says_cost or isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost < math.inf:
        return counted
    return replace(counted, cost_usd=float(cost))


def read_logprobs(given: Any) -> tuple[TokenLogprob, ...]:
    """The tokens of a choice's `logprobs`; those that make no sense are left out."""
    if not isinstance(given, dict):
        return ()
    tokens = given.get("content") or given.get("refusal")
    return _tokens(tokens, is_top=False)


def _tokens(given: Any, *, is_top: bool) -> tuple[TokenLogprob, ...]:
    if not isinstance(given, list):
        return ()
    found: list[TokenLogprob] = []
    for token in given[:_TOP] if is_top else given:
        if not isinstance(token, dict) or type(token.get("logprob")) not in (int, float):
            continue
        text, top = _token(token), () if is_top else _tokens(token.get("top_logprobs"), is_top=True)
        # What is impossible is given as -9999, or as the least number there is.
        logprob = float(max(min(token["logprob"], 0), -1e9))
        if math.isfinite(logprob):
            found.append(TokenLogprob(text, logprob, top))
    return tuple(found)


def _token(token: dict[str, Any]) -> str:
    """Its text. Where it is half a character the text is an escape, and the bytes say what it is: U+FFFD."""
    given = token.get("bytes")
    if isinstance(given, list) and given and all(type(byte) is int and 0 <= byte <= 255 for byte in given):
        return bytes(given[:_TOKEN_CHARACTERS]).decode("utf-8", "replace")
    text = token.get("token")
    return whole(text[:_TOKEN_CHARACTERS]) if isinstance(text, str) else ""
