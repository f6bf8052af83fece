"""How soon the provider's socket is closed after the caller is gone, in a process of its own, like `load`."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from time import monotonic_ns
from typing import Any

import grpc
import grpc.aio
import uvloop

from benchmarks.children import ROOT, run_until_orphaned
from benchmarks.script import Script
from benchmarks.wire import told
from stepwire.v1 import chat_pb2, chat_pb2_grpc

_FLOWING = Script(count=100_000, rate_hz=50)
_DEADLINE_S = 0.15
_VICTIMS = 5

Way = Callable[[Any, int, Script], Awaitable[int]]
"""Takes the stubs, the provider's port and a script; begins a call and ends it; returns when, in monotonic ns."""


async def _after_tokens(stubs: Any, _: int, script: Script) -> int:
    call = stubs.StreamChat(_request(script))
    seen = 0
    while seen < 3:
        seen += (await call.read()).text_delta.delta_count
    await asyncio.sleep(random.uniform(0.02, 0.06))
    return _cancel(call)


async def _before_tokens(stubs: Any, port: int, script: Script) -> int:
    call = stubs.StreamChat(_request(script))
    await _asked(port, script)
    await asyncio.sleep(random.uniform(0.01, 0.03))
    return _cancel(call)


async def _unary(stubs: Any, port: int, script: Script) -> int:
    call = stubs.Chat(chat_pb2.ChatRequest(model="bench", prompt=script.prompt()))
    await _asked(port, script)
    await asyncio.sleep(random.uniform(0.03, 0.06))
    return _cancel(call)


async def _deadline(stubs: Any, _: int, script: Script) -> int:
    over_ns = monotonic_ns() + int(_DEADLINE_S * 1e9)
    call = stubs.StreamChat(_request(script), timeout=_DEADLINE_S)
    if await call.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
        raise SystemExit(f"the call ended with {await call.code()} instead of at its deadline")
    return over_ns


WAYS: dict[str, tuple[Way, Script]] = {
    "mid-stream": (_after_tokens, _FLOWING),
    "silent provider": (_after_tokens, Script(count=3, ends=0)),
    "before the first token": (_before_tokens, Script(answers=0)),
    "unary Chat": (_unary, _FLOWING),
    "deadline while flowing": (_deadline, _FLOWING),
    "deadline in silence": (_deadline, Script(answers=0)),
}


def _request(script: Script) -> chat_pb2.StreamChatRequest:
    return chat_pb2.StreamChatRequest(model="bench", prompt=script.prompt())


async def _asked(port: int, script: Script) -> None:
    if await told(port, f"asked/{script.mark}") is None:
        raise SystemExit(f"the provider was never asked for {script.mark}")


def _cancel(call: Any) -> int:
    now_ns = monotonic_ns()
    call.cancel()
    return now_ns


async def _late_ms(port: int, script: Script, ended_ns: int) -> float | None:
    closed_ns = await told(port, f"closed/{script.mark}")
    return None if closed_ns is None else (closed_ns - ended_ns) / 1e6


async def run(address: str, port: int, times: int) -> dict[str, list[float | None]]:
    """Try each way so often; ms from the end to the closed socket, None where it stayed open."""
    found: dict[str, list[float | None]] = {}
    async with grpc.aio.insecure_channel(address) as channel:
        stubs = chat_pb2_grpc.ChatServiceStub(channel)  # type: ignore[no-untyped-call, unused-ignore]
        for name, (way, script) in WAYS.items():
            found[name] = []
            for number in range(times):
                marked = replace(script, mark=f"{name.replace(' ', '-').lower()}-{number}")
                found[name].append(await _late_ms(port, marked, await way(stubs, port, marked)))
    found["caller killed"] = [
        late for first in range(0, times, _VICTIMS) for late in await _kill(address, port, first, min(_VICTIMS, times))
    ][:times]
    return found


async def _kill(address: str, port: int, first: int, count: int) -> list[float | None]:
    """Let some callers begin, then kill one after another."""
    scripts = [replace(_FLOWING, mark=f"killed-{first + number}") for number in range(count)]
    late: list[float | None] = []
    async with _victims(address, scripts) as victims:
        for victim in victims:
            assert victim.stdout is not None
            await victim.stdout.readline()  # it has its first token
        for script, victim in zip(scripts, victims, strict=True):
            ended_ns = monotonic_ns()
            victim.kill()
            late.append(await _late_ms(port, script, ended_ns))
    return late


@asynccontextmanager
async def _victims(address: str, scripts: list[Script]) -> AsyncGenerator[list[asyncio.subprocess.Process]]:
    victims: list[asyncio.subprocess.Process] = []
    try:
        for script in scripts:
            command = (sys.executable, "-m", "benchmarks.cancel", "victim", address, script.prompt())
            process = await asyncio.create_subprocess_exec(
                *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
            )
            victims.append(process)
        yield victims
    finally:
        for victim in victims:
            if victim.returncode is None:
                victim.kill()
            await victim.wait()


async def _be_victim(announce: Callable[[str], None]) -> None:
    address, prompt = sys.argv[2:]
    async with grpc.aio.insecure_channel(address) as channel:
        stubs = chat_pb2_grpc.ChatServiceStub(channel)  # type: ignore[no-untyped-call, unused-ignore]
        call: Any = stubs.StreamChat(chat_pb2.StreamChatRequest(model="bench", prompt=prompt))
        seen = 0
        async for response in call:
            seen += response.text_delta.delta_count
            if seen == 3:
                announce("flowing")


async def _main(announce: Callable[[str], None]) -> None:
    announce(json.dumps(await run(**json.loads(sys.argv[1]))))


if __name__ == "__main__":
    uvloop.run(run_until_orphaned(_be_victim if sys.argv[1] == "victim" else _main))
