"""How soon the provider's socket is closed after a caller over HTTP hung up, in a process of its own, like `cancel`."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from time import monotonic_ns

import uvloop

from benchmarks.cancel import _asked, _late_ms
from benchmarks.children import run_until_orphaned
from benchmarks.script import HTTP, Script, chat_json

_FLOWING = Script(count=100_000, rate_hz=50)

#: What the provider does, whether the reply is streamed, and how many events come before the end.
WAYS: dict[str, tuple[Script, bool, int]] = {
    "mid-stream": (_FLOWING, True, 3),
    "silent provider": (Script(count=3, ends=0), True, 1),
    "before the first token": (Script(answers=0), True, 0),
    "whole reply": (_FLOWING, False, 0),
}


async def _hang_up(front_port: int, provider_port: int, script: Script, stream: bool, events: int) -> int:
    """Ask, read some events, and close the socket; when, in monotonic ns."""
    reader, writer = await asyncio.open_connection("127.0.0.1", front_port)
    body = chat_json(script, stream=stream)
    head = f"POST {HTTP} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    for _ in range(events):
        await reader.readuntil(b"data: ")
    if not events:
        await _asked(provider_port, script)
    await asyncio.sleep(random.uniform(0.02, 0.06))
    now_ns = monotonic_ns()
    writer.close()
    return now_ns


async def run(front_port: int, port: int, times: int) -> dict[str, list[float | None]]:
    """Try each way so often; ms from the end to the closed socket, None where it stayed open."""
    found: dict[str, list[float | None]] = {}
    for name, (script, stream, events) in WAYS.items():
        found[name] = []
        for number in range(times):
            marked = replace(script, mark=f"http-{name.replace(' ', '-')}-{number}")
            ended_ns = await _hang_up(front_port, port, marked, stream, events)
            found[name].append(await _late_ms(port, marked, ended_ns))
    return found


async def _main(announce: Callable[[str], None]) -> None:
    announce(json.dumps(await run(**json.loads(sys.argv[1]))))


if __name__ == "__main__":
    uvloop.run(run_until_orphaned(_main))
