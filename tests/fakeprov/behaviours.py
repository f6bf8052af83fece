"""Behaviours that tests share: functions that make one. What is theirs alone, tests write themselves."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tests.fakeprov.provider import Behaviour, Exchange

STREAM = {"content-type": "text/event-stream"}
DONE = b"data: [DONE]\n\n"


async def turns(count: int = 30) -> None:
    """Let everybody on this loop do what they can: what was sent over loopback is read after some turns.

    Nothing is known of other processes by that.
    """
    for _ in range(count):
        await asyncio.sleep(0)


def event(data: Any) -> bytes:
    """One event of a stream, JSON as the real ones write it."""
    return b"data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def chunk(content: str | None = None, *, finish: str | None = None, model: str = "fake-1", **delta: Any) -> bytes:
    """One chunk of a chat completion, of the size that OpenAI sends."""
    if content is not None:
        delta["content"] = content
    return event(
        {
            "id": "chatcmpl-9Xy1234567890abcdefghijklm",
            "object": "chat.completion.chunk",
            "created": 1730000000,
            "model": model,
            "service_tier": "default",
            "system_fingerprint": "fp_1234567890",
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
            "usage": None,
        }
    )


def usage(input_tokens: int = 3, output_tokens: int = 2) -> bytes:
    """The chunk that holds nothing but the counts."""
    counts = {"prompt_tokens": input_tokens, "completion_tokens": output_tokens}
    return event({"model": "fake-1", "choices": [], "usage": counts})


def transcript(tokens: Iterable[str]) -> bytes:
    """A whole stream: role, tokens, finish, usage, `[DONE]`."""
    pieces = [chunk("", role="assistant"), *(chunk(token) for token in tokens), chunk(finish="stop"), usage(), DONE]
    return b"".join(pieces)


def reply(tokens: Sequence[str] = ("Hel", "lo"), gap_s: float = 0.0) -> Behaviour:
    """A good reply, one write per token, `gap_s` apart."""
    chunks = [chunk(token) for token in tokens]

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, STREAM)
        await exchange.chunk(chunk("", role="assistant"))
        for data in chunks:
            await exchange.chunk(data)
            if gap_s:
                await asyncio.sleep(gap_s)
        await exchange.chunk(chunk(finish="stop"))
        await exchange.chunk(usage())
        await exchange.chunk(DONE)
        await exchange.end()

    return behave


def flood(events: int, per_write: int = 64, token: str = " token") -> Behaviour:
    """A good reply as fast as it is read."""
    block = chunk(token) * per_write

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, STREAM)
        for _ in range(events // per_write):
            await exchange.chunk(block)
        await exchange.chunk(chunk(finish="stop") + DONE)
        await exchange.end()

    return behave


def embeddings(dimensions: int = 3, *, as_base64: bool = True, shuffled: bool = False) -> Behaviour:
    """A vector for each text: its length in characters, and zeros."""

    async def behave(exchange: Exchange) -> None:
        asked = exchange.request.json()
        data = [
            {"object": "embedding", "index": index, "embedding": vector([len(text)], dimensions, as_base64=as_base64)}
            for index, text in enumerate(asked["input"])
        ]
        if shuffled:
            data.reverse()
        body = {"object": "list", "data": data, "model": asked["model"], "usage": {"prompt_tokens": 5}}
        await exchange.body(json.dumps(body).encode())

    return behave


def vector(numbers: Sequence[float], dimensions: int, *, as_base64: bool = True) -> str | list[float]:
    """A vector as the wire has it, filled up with zeros."""
    full = [*map(float, numbers), *([0.0] * (dimensions - len(numbers)))]
    return base64.b64encode(struct.pack(f"<{dimensions}f", *full)).decode() if as_base64 else full


def stream(body: bytes, headers: Mapping[str, str] | None = None, cuts: Iterable[int] = ()) -> Behaviour:
    """Exactly this body, chunked, cut where it is said, ended in the orderly way."""
    places = list(cuts)

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, STREAM | dict(headers or {}))
        edges = [0, *places, len(body)]
        for start, end in pairwise(edges):
            if end > start:
                await exchange.chunk(body[start:end])
                await asyncio.sleep(0)
        await exchange.end()

    return behave


def raw(data: bytes, *, then: str = "finish") -> Behaviour:
    """Exactly these bytes, head and all; then `finish`, `reset`, `keep` or `half_close`."""

    async def behave(exchange: Exchange) -> None:
        await exchange.send(data)
        if then == "keep":
            await exchange.gone()
        await asyncio.sleep(0)  # a reset may overtake what was sent in the same turn
        getattr(exchange, then)()
        if then == "half_close":
            await exchange.gone()

    return behave


def status(code: int, headers: Mapping[str, str] | None = None, body: Any = None) -> Behaviour:
    """A refusal; `body` is JSON, or bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body if body is not None else {}).encode()

    async def behave(exchange: Exchange) -> None:
        default = {"content-type": "application/json", "content-length": str(len(data))}
        await exchange.head(code, default | dict(headers or {}))
        await exchange.send(data)

    return behave


def silent(before: bytes = b"") -> Behaviour:
    """Takes the request, sends `before` (head and all), and nothing more until the client hangs up."""

    async def behave(exchange: Exchange) -> None:
        if before:
            await exchange.send(before)
        await exchange.gone()

    return behave


def stalled(tokens: Sequence[str] = ("Hel", "lo"), *, after: bytes = b"") -> Behaviour:
    """Begins a good reply, then falls silent."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, STREAM)
        await exchange.chunk(b"".join(map(chunk, tokens)) + after)
        await exchange.gone()

    return behave


def truncated(
    tokens: Sequence[str] = ("Hel", "lo"), *, then: str = "end", release: asyncio.Event | None = None
) -> Behaviour:
    """Begins a good reply, then ends it: `end` as if it were whole, or `finish` or `reset` in the middle.

    A reset takes back what the client has not read yet: one in another process says with `release` that it has.
    """

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, STREAM)
        await exchange.chunk(b"".join(map(chunk, tokens)))
        if then == "end":
            await exchange.end()
        else:
            await (release.wait() if release else turns())
            getattr(exchange, then)()

    return behave


def endless(data: bytes, gap_s: float = 0.0) -> Behaviour:
    """Sends this in one chunk after the other until the client hangs up."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, STREAM)
        while True:
            await exchange.chunk(data)
            await asyncio.sleep(gap_s)

    return behave


def dribble(data: bytes, gap_s: float) -> Behaviour:
    """Sends this, head and all, byte by byte, then waits for the client to hang up."""

    async def behave(exchange: Exchange) -> None:
        await exchange.send_at_rate(data, 1, gap_s)
        await exchange.gone()

    return behave


def hang_up(*, with_reset: bool = False) -> Behaviour:
    """Closes the connection in answer to a request."""

    async def behave(exchange: Exchange) -> None:
        exchange.reset() if with_reset else exchange.finish()

    return behave


def paused(body: bytes, at: int, release: asyncio.Event) -> Behaviour:
    """A stream that stops at one offset until the test lets it go on, or the client hangs up."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, STREAM)
        if at:
            await exchange.chunk(body[:at])
        await release.wait()
        if at < len(body):
            await exchange.chunk(body[at:])
        await exchange.end()

    return behave


def in_turn(*several: Behaviour) -> Behaviour:
    """The first for the first request, and so on; the last for all that follow."""

    async def behave(exchange: Exchange) -> None:
        await several[min(exchange.number, len(several) - 1)](exchange)

    return behave
