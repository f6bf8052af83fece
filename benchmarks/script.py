"""What a measured call asks for, written into its prompt: the provider and the bare server both read it there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

#: The methods that are measured; the bare server has both.
STREAM_CHAT = "/stepwire.v1.ChatService/StreamChat"
RELAY = "/bench/Relay"

#: What is measured over HTTP: the front's own path, which the bare server has as its relay, and what that generates.
HTTP = "/v1/chat/completions"
HTTP_GENERATE = "/generate"

#: Plain letters only, so that it survives JSON and protobuf as it is and is found without decoding either.
_FOUND = re.compile(rb"bench ([a-z0-9_=. -]*);")


@dataclass(frozen=True, slots=True)
class Script:
    """How one reply goes."""

    count: int = 20
    """Tokens."""

    rate_hz: float = 0.0
    """Tokens each second; 0 for as fast as they are taken."""

    per_write: int = 1
    """Tokens in one write to the socket."""

    answers: int = 1
    """0: not even the head of a response is sent."""

    ends: int = 1
    """0: after the last token comes silence."""

    mark: str = "-"
    """By which the provider can be asked when it was asked and when its socket closed."""

    def prompt(self) -> str:
        said = " ".join(f"{name}={value}" for name, value in asdict(self).items())
        return f"bench {said};"


_READ: Mapping[str, Callable[[str], Any]] = {
    "count": int,
    "rate_hz": float,
    "per_write": int,
    "answers": int,
    "ends": int,
    "mark": str,
}


def find(request: bytes) -> Script:
    """Read the script out of a request, whatever it is packed in; the default one if there is none."""
    found = _FOUND.search(request)
    if found is None:
        return Script()
    pairs = (pair.split("=", 1) for pair in found[1].decode().split())
    return Script(**{name: _READ[name](value) for name, value in pairs})


def chat_json(script: Script, *, stream: bool = True) -> bytes:
    """A request over HTTP."""
    messages = [{"role": "user", "content": script.prompt()}]
    return json.dumps({"model": "bench", "messages": messages, "stream": stream}).encode()
