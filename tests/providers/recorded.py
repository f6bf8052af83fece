"""Recorded shapes: what providers send, written by us from their documentation, and what has to come of each.

A shape of a wire is two files in `shapes/<wire>/`: `<name>.txt`, the body of the response byte for byte, and
`<name>.json`, an object with

- `events`: what `told` makes of each event; `failure` and `at`: the reason and the place, if it ends in one;
- `options`: of the request, as far as they matter (`tools`, `response_format`, …), schemas as JSON;
- `vendor` or `quirks`: which server of the wire sends it, if that matters.

`python -m tests.providers.recorded` writes `events` and `failure` anew: read them before they are committed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from stepwired.errors import Failure
from stepwired.events import (
    ChatOptions,
    ChatRequest,
    Event,
    Finished,
    Message,
    ReasoningDelta,
    ResponseFormat,
    Started,
    TextDelta,
    TokenLogprob,
    Tool,
    ToolCallDelta,
    ToolCalled,
)
from stepwired.providers.base import Endpoint, static
from stepwired.providers.reading.decoder import Decoder
from stepwired.providers.refusing.refusals import Asked
from stepwired.providers.wires.quirks import VENDORS, Quirks
from stepwired.providers.wires.table import WIRES
from stepwired.providers.wires.wire import ChatWire

FOLDER = Path(__file__).parent / "shapes"


@dataclass(frozen=True)
class Shape:
    """One recorded body, and how it is asked for."""

    wire: str
    name: str
    body: bytes
    said: dict[str, Any]

    def decoder(self) -> Decoder:
        quirks = VENDORS[self.said["vendor"]] if "vendor" in self.said else Quirks(**self.said.get("quirks", {}))
        endpoint = Endpoint("acme", static("http://127.0.0.1:1"), wire=self.wire, quirks=quirks)
        wire = cast("ChatWire", WIRES[self.wire](endpoint, cast("Any", None)))  # nothing is sent
        request = ChatRequest("m-1", messages=(Message(text="hi"),), options=_options(self.said.get("options", {})))
        return wire.decoder(Asked("acme", "m-1", "sk-live-1234567890"), request)

    def read(self, pieces: list[bytes]) -> tuple[list[Event], Failure | None]:
        """What comes of the body in these pieces."""
        decoder = self.decoder()
        events: list[Event] = []
        try:
            for piece in pieces:
                events += decoder.feed(piece)
                if decoder.is_done:
                    break
            events += decoder.end()
        except Failure as failure:
            # Whether a reply that failed was begun before depends on the cut.
            return events if len(events) > 1 else [], failure
        return events, None

    def save(self, said: dict[str, Any]) -> None:
        path = FOLDER / self.wire / f"{self.name}.json"
        path.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n")


def shapes() -> list[Shape]:
    return [
        Shape(path.parent.name, path.stem, path.read_bytes(), json.loads(path.with_suffix(".json").read_text()))
        for path in sorted(FOLDER.glob("*/*.txt"))
    ]


def framings(body: bytes, count: int, seed: str) -> Iterator[list[bytes]]:
    """The body cut at random, from once to (seldom) behind each byte; seeded, so that a failure comes again."""
    chance = random.Random(seed)
    for _ in range(count):
        often, seldom = (1, 2, 3, 5, 8, 13, 30), (len(body) // 3, len(body))
        most = min(len(body) - 1, chance.choice(often if chance.random() < 0.99 else seldom))
        cuts = sorted(chance.sample(range(1, len(body)), max(1, most)))
        yield [body[start:end] for start, end in pairwise((0, *cuts, len(body)))]


def outcome(events: list[Event], failure: Failure | None) -> dict[str, Any]:
    """What is written beside a shape of what came of it."""
    said: dict[str, Any] = {"events": [told(event) for event in events]}
    if failure is not None:
        said["failure"] = failure.reason.value
        said |= {"at": failure.metadata["at"]} if "at" in failure.metadata else {}
    return said


def told(event: Event) -> list[Any]:
    """An event as JSON that is short enough to be read."""
    match event:
        case Started():
            return ["started", event.model]
        case TextDelta():
            return ["text", event.text, *([[_token(token) for token in event.logprobs]] if event.logprobs else [])]
        case ReasoningDelta():
            return ["reasoning", event.text]
        case ToolCallDelta():
            return ["tool", event.index, event.tool_id, event.name, event.arguments]
        case ToolCalled():
            return ["called", event.index, event.tool_use.tool_id, event.tool_use.name, event.tool_use.input]
        case Finished():
            return ["finished", _finished(event)]
        case _:
            raise AssertionError(event)


def _finished(event: Finished) -> dict[str, Any]:
    unset = Finished(event.reason, event.model, event.provider, event.usage, event.messages)
    usage = {name: value for name, value in asdict(event.usage).items() if value is not None and name != "source"}
    said: dict[str, Any] = {
        "reason": event.reason.value,
        "provider_reason": event.provider_reason,
        "usage": {name: value for name, value in usage.items() if value is not False},
        "messages": [_message(message) for message in event.messages],
    }
    if event.structured is not unset.structured:
        said["structured"] = event.structured
    return said


def _message(message: Message) -> dict[str, Any]:
    said: dict[str, Any] = {"text": message.text} if message.text else {}
    if message.reasoning is not None:
        said["reasoning"] = message.reasoning.text
        if message.reasoning.signature:
            said["signature"] = message.reasoning.signature.decode()
    if message.tool_use is not None:
        said["tool_use"] = message.tool_use.tool_id
    return said


def _token(token: TokenLogprob) -> list[Any]:
    return [token.token, token.logprob, *map(_token, token.top)]


def _options(said: dict[str, Any]) -> ChatOptions:
    given = dict(said)
    if "tools" in given:
        given["tools"] = tuple(Tool(**tool | {"schema": _json(tool["schema"])}) for tool in given["tools"])
    if "response_format" in given:
        wanted = given["response_format"]
        given["response_format"] = ResponseFormat(_json(wanted["schema"]) if "schema" in wanted else b"")
    return ChatOptions(**given)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def write() -> None:
    """Write beside each shape what comes of it now."""
    for shape in shapes():
        kept = {name: shape.said[name] for name in ("vendor", "quirks", "options") if name in shape.said}
        shape.save(kept | outcome(*shape.read([shape.body])))


if __name__ == "__main__":
    write()
