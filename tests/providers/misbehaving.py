"""How each wire says what providers say when they do wrong, and a row of the table of what they do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stepwired.errors import Reason
from tests.fakeprov import Behaviour, Exchange, behaviours
from tests.providers.wires import recorded, whole_events

WIRES = ("openai", "anthropic", "gemini", "ollama")
_SSE, _LINES = "text/event-stream", "application/x-ndjson"


def framed(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass(frozen=True)
class Talk:
    """How one wire says things."""

    wire: str
    good: bytes
    """A whole reply."""

    text: str
    begun: bytes
    """Its first events."""

    begun_text: str
    broken: bytes = b"data: {\n\n"
    """An event that is no JSON."""

    nothing: bytes = b": hi\n\n"
    """What says nothing, and may come for ever."""

    more: bytes = b""
    """An event with text, as may come after the end; nothing where a reply may go on."""

    call: Callable[[int], bytes] = field(default=lambda _: b"")
    """The event of one more tool call."""

    media_type: str = _SSE

    @property
    def head(self) -> bytes:
        return b"HTTP/1.1 200 OK\r\ncontent-type: " + self.media_type.encode() + b"\r\n"

    @property
    def chunked(self) -> bytes:
        return self.head + b"transfer-encoding: chunked\r\n\r\n"

    def stream(self, body: bytes, headers: Mapping[str, str] | None = None, **cuts: Any) -> Behaviour:
        return behaviours.stream(body, {"content-type": self.media_type} | dict(headers or {}), **cuts)

    def reply(self) -> Behaviour:
        return self.stream(self.good)

    def error(self, kind: str = "some_error", message: str = "no") -> Any:
        """An error, as the wire words it."""
        match self.wire:
            case "openai":
                return {"error": {"message": message, "type": kind}}
            case "anthropic":
                return {"type": "error", "error": {"type": kind, "message": message}}
            case "gemini":
                return {"error": {"message": message, "status": kind}}
            case _:
                return {"error": message}

    def event(self, said: Any) -> bytes:
        return json.dumps(said).encode() + b"\n" if self.media_type == _LINES else behaviours.event(said)

    def refuse(self, status: int, headers: Mapping[str, str] | None = None, kind: str = "some_error") -> Behaviour:
        message = 'model "gpt-x" not found' if status == 404 else "no"
        return behaviours.status(status, headers, self.error(kind, message))


def _openai_call(index: int) -> bytes:
    function = {"name": "a", "arguments": "{}"}
    return behaviours.chunk(tool_calls=[{"index": index, "id": f"call_{index}", "function": function}])


def _anthropic_call(index: int) -> bytes:
    block = {"type": "tool_use", "id": f"toolu_{index}", "name": "a", "input": {}}
    start = {"type": "content_block_start", "index": index + 1, "content_block": block}
    return behaviours.event(start) + behaviours.event({"type": "content_block_stop", "index": index + 1})


def _gemini_call(_: int) -> bytes:
    return behaviours.event({"candidates": [{"content": {"parts": [{"functionCall": {"name": "a", "args": {}}}]}}]})


def _ollama(content: str = "", **more: Any) -> bytes:
    said = {"model": "qwen3", "message": {"role": "assistant", "content": content}, "done": False}
    return json.dumps(said | more).encode() + b"\n"


def _ollama_call(_: int) -> bytes:
    call = {"function": {"name": "a", "arguments": {}}}
    return _ollama(message={"role": "assistant", "content": "", "tool_calls": [call]})


def talks() -> dict[str, Talk]:
    """Each wire's way of saying things, from its recorded shapes."""
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "more"}}
    anthropic, gemini = recorded("anthropic", "plain"), recorded("gemini", "plain")
    ollama = _ollama("Hel") + _ollama("lo") + _ollama(done=True, done_reason="stop", prompt_eval_count=3, eval_count=2)
    several = (
        Talk(
            "openai",
            behaviours.transcript(["Hel", "lo"]),
            "Hello",
            behaviours.chunk("Hel"),
            "Hel",
            more=behaviours.chunk("more"),
            call=_openai_call,
        ),
        Talk(
            "anthropic",
            anthropic,
            "Hello!",
            whole_events(anthropic, 4),
            "Hello",
            more=behaviours.event(delta),
            call=_anthropic_call,
        ),
        Talk("gemini", gemini, "Hello there!", whole_events(gemini, 1), "Hello", call=_gemini_call),
        Talk(
            "ollama",
            ollama,
            "Hello",
            _ollama("Hel"),
            "Hel",
            broken=b"{\n",
            nothing=_ollama(),
            more=_ollama("more"),
            call=_ollama_call,
            media_type=_LINES,
        ),
    )
    return {talk.wire: talk for talk in several}


@dataclass(frozen=True)
class Row:
    """One thing that a provider does wrong."""

    name: str
    behave: Callable[[Talk], Behaviour]
    reason: Reason | None = None
    """Of the failure; none: the reply is whole."""

    text: str = ""
    """What of the reply has to arrive: "" nothing, "begun" or "whole"; "any": that does not matter."""

    asked: int = 1
    """How often the provider is asked."""

    least_s: float = 0.1
    most_s: float = 1.0
    """How long it is waited for between two attempts."""

    budget: dict[str, float] = field(default_factory=dict)
    wires: tuple[str, ...] = WIRES


def ways(
    name: str, reason: Reason | None, several: Mapping[str, Callable[[Talk], Behaviour]], **more: Any
) -> list[Row]:
    """Rows that differ in nothing but what is done."""
    return [Row(f"{name} {what}", behave, reason, **more) for what, behave in several.items()]


def limited(headers: Mapping[str, str]) -> Callable[[Talk], Behaviour]:
    """A rate limit with these headers, and then a reply."""
    return lambda talk: behaviours.in_turn(talk.refuse(429, headers, "rate_limit_error"), talk.reply())


def then_good(status: int) -> Callable[[Talk], Behaviour]:
    return lambda talk: behaviours.in_turn(talk.refuse(status), talk.refuse(status), talk.reply())


def broken_later(talk: Talk) -> Behaviour:
    """Its chunks are no chunks any more, after it began."""

    async def behave(exchange: Exchange) -> None:
        await exchange.send(talk.chunked + framed(talk.begun))
        await behaviours.turns()
        await exchange.send(b"zz\r\n")
        await exchange.gone()

    return behave


def cut_off(talk: Talk, then: str) -> Behaviour:
    """It begins, and then is gone."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, {"content-type": talk.media_type})
        await exchange.chunk(talk.begun)
        await behaviours.turns()
        getattr(exchange, then)()

    return behave
