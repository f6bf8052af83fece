"""The scripted provider: what each model of it does, and which requests and sockets belong to which cell."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from typing import Any

from tests.fakeprov import Behaviour, Connection, Exchange, Provider, behaviours

TOKEN = re.compile(rb"[0-9a-f]{12}x")
"""What every cell writes into its prompts, so that its requests are known here."""

BIG_BYTES = 1024 * 1024 - 16384
"""A reply of nearly 1 MiB, which is the most; `Chat` holds it twice."""

WIDE = 3500
"""Numbers of a wide vector."""

_LATE = {"retry-after": "120"}  # so late that the server does not wait itself
_WEATHER = '{"city":"Oslo","days":2}'
_LOCAL = """
[local]
enabled = false
[server]
shutdown_grace_s = 1
[tools]
allow = []
[endpoints.fake]
base_url = "{base_url}"
first_byte_s = 600
idle_s = 600
total_s = 600
[endpoints.keyed]
base_url = "{base_url}"
keys = "caller"
[models.hello]
endpoint = "fake"
default = true
aliases = ["greeting"]
[models.keyed]
endpoint = "keyed"
[models.vectors]
endpoint = "fake"
kind = "embed"
dimensions = 3
default = true
[models.wide]
endpoint = "fake"
kind = "embed"
dimensions = 3500
[models.vectors-locked]
endpoint = "fake"
kind = "embed"
dimensions = 3
"""


class Sight:
    """What the provider sees of one cell."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.asked = asyncio.Event()

    async def closed(self, timeout_s: float) -> float | None:
        """Wait until each socket is closed on which nothing was answered to the end; when, in ms since 1970.

        A socket on which it was answered stays open for further requests. None if there is no other, as where a
        deadline has passed before the provider was asked.
        """
        async with asyncio.timeout(timeout_s):
            for connection in self.connections:
                await connection.closed.wait()
        last_s = max((connection.closed_at or 0.0 for connection in self.connections), default=None)
        return None if last_s is None else (last_s + time.time() - time.monotonic()) * 1000


class Scripted:
    """Answers as the model says that it is asked for."""

    def __init__(self) -> None:
        self._seen: dict[bytes, Sight] = {}
        self.provider = Provider(self._behave)

    def seen(self, token: str) -> Sight:
        """Look what there was of one cell."""
        return self._seen.setdefault(token.encode(), Sight())

    def settings(self) -> str:
        """Write the settings of a server that asks it."""
        models = "".join(f'[models.{name}]\nendpoint = "fake"\n' for name in _MODELS if name != "hello")
        return _LOCAL.format(base_url=self.provider.base_url) + models

    async def _behave(self, exchange: Exchange) -> None:
        sights = [self.seen(token.decode()) for token in set(TOKEN.findall(exchange.request.body))]
        for sight in sights:
            sight.connections.append(exchange.connection)
            sight.asked.set()
        await self._answer(exchange)
        for sight in sights:
            sight.connections.remove(exchange.connection)

    async def _answer(self, exchange: Exchange) -> None:
        asked = exchange.request.json()
        if exchange.request.path.endswith("/embeddings"):
            behave = _MODELS["badkey"] if asked["model"] == "vectors-locked" else _vectors
        elif asked["model"] == "keyed":
            behave = behaviours.reply([exchange.request.headers.get("authorization", "none")])
        elif asked["model"] == "echo":
            behave = behaviours.reply(_pieces(_last_text(asked)))
        elif asked["model"] == "tool" and asked["messages"][-1]["role"] == "tool":
            behave = behaviours.reply([f"It is {asked['messages'][-1]['content']}."])
        else:
            behave = _MODELS[asked["model"]]
        await behave(exchange)


async def _vectors(exchange: Exchange) -> None:
    """Of each text: how long it is, how often it has an a, and 0.1, which no 32 bit float is."""
    asked = exchange.request.json()
    dimensions = WIDE if asked["model"] == "wide" else 3
    data = [
        {"index": index, "embedding": behaviours.vector([len(text), text.count("a"), 0.1], dimensions)}
        for index, text in enumerate(asked["input"])
    ]
    body = {"object": "list", "data": data, "model": asked["model"], "usage": {"prompt_tokens": 5}}
    await exchange.body(json.dumps(body).encode())


def _last_text(asked: Mapping[str, Any]) -> str:
    content = asked["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _pieces(text: str) -> list[str]:
    size = max(1, len(text) // 16)
    return [text[at : at + size] for at in range(0, len(text), size)]


def _call(index: int, name: str, arguments: str) -> bytes:
    function = {"name": name, "arguments": arguments}
    whole = {"index": index, "id": f"call_{index}", "type": "function", "function": function}
    return behaviours.chunk(tool_calls=[whole])


def _stream(*pieces: bytes) -> Behaviour:
    return behaviours.stream(b"".join(pieces))


_LAST = behaviours.usage() + behaviours.DONE
_END = behaviours.chunk(finish="stop") + _LAST

#: What is done with a request, by the model that it names.
_MODELS: Mapping[str, Behaviour] = {
    "hello": behaviours.reply(["Hel", "lo"]),
    "echo": behaviours.reply([]),
    "big": behaviours.reply(["0123456789abcdef" * 1024] * (BIG_BYTES // 16384)),
    "stalled": behaviours.stalled(["Hel", "lo"]),
    "silent": behaviours.silent(),
    "endless": behaviours.endless(behaviours.chunk("more "), 0.005),
    "cut": behaviours.truncated(["Hel", "lo"]),
    "badkey": behaviours.status(401, body={"error": {"message": "secret"}}),
    "limited": behaviours.status(429, _LATE, {"error": {"code": "rate_limit_exceeded"}}),
    "quota": behaviours.status(429, body={"error": {"code": "insufficient_quota"}}),
    "overloaded": behaviours.status(503, _LATE),
    "long": behaviours.status(400, body={"error": {"code": "context_length_exceeded", "message": "secret"}}),
    "tool": _stream(_call(0, "weather", _WEATHER), behaviours.chunk(finish="tool_calls"), _LAST),
    "json": _stream(behaviours.chunk('{"name":"Tom","lives":9,"big":9007199254740991,"half":-0.5,"none":null}'), _END),
    "thinking": _stream(behaviours.chunk(reasoning_content="Hm. "), behaviours.chunk("Yes."), _END),
    "odd-end": _stream(behaviours.chunk("Well"), behaviours.chunk(finish="mystery"), _LAST),
    "length": _stream(behaviours.chunk("On and"), behaviours.chunk(finish="length"), _LAST),
}
