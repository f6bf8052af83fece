"""The caller, in a process of its own: `python -m benchmarks.load JOB` prints what it found, both as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from time import monotonic
from typing import Any

import grpc.aio
import uvloop

from benchmarks.children import busy_cpu_s, cpu_s, memory_mb, run_until_orphaned
from benchmarks.script import HTTP, HTTP_GENERATE, STREAM_CHAT, Script, chat_json
from benchmarks.wire import Provider
from stepwire.v1 import chat_pb2

_CHANNELS = 4
_SETTLE_S = 0.7


@dataclass(frozen=True, slots=True)
class Job:
    """What to do to which server."""

    address: str
    pid: int
    """The server's process."""

    provider_pid: int
    provider_port: int
    method: str = STREAM_CHAT
    """`direct`: not gRPC, but the provider itself. Paths of `HTTP` are asked as it is."""

    streams: int = 256
    seconds: float = 5.0
    script: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Found:
    """What a window of time showed."""

    seconds: float = 0.0
    deltas: int = 0
    messages: int = 0
    """That held deltas. Fewer than `deltas` where a server was late and joined what had arrived meanwhile."""

    replies: int = 0
    server_cpu_s: float = 0.0
    provider_cpu_s: float = 0.0
    client_cpu_s: float = 0.0
    other_cpu_s: float = 0.0
    """By everything else on this machine: what makes a run noisy."""

    rss_mb: float = 0.0
    peak_mb: float = 0.0
    first_token_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """What has arrived so far, on all streams."""

    streams: int
    deltas: int = 0
    messages: int = 0
    replies: int = 0
    first_token_s: list[float] = field(default_factory=list)
    all_flow: asyncio.Event = field(default_factory=asyncio.Event)

    def first(self, after_s: float) -> None:
        self.first_token_s.append(after_s)
        if len(self.first_token_s) >= self.streams:
            self.all_flow.set()


def _count(raw: bytes) -> tuple[int, bool]:
    """How many tokens a message holds, and whether it is the last."""
    message = chat_pb2.StreamChatResponse.FromString(raw)
    return message.text_delta.delta_count, message.HasField("finished")


def _count_relayed(raw: bytes) -> tuple[int, bool]:
    return raw.count(b'"content":" ') + raw.count(b'"content":",') + raw.count(b'"content":"."'), b"[DONE]" in raw


async def _reply(ask: Callable[[], Any], count: Callable[[bytes], tuple[int, bool]], tally: Tally) -> None:
    """Read one reply to its end."""
    asked_s = monotonic()
    call = ask()
    seen = 0
    try:
        while (raw := await call.read()) is not grpc.aio.EOF:
            deltas, is_last = count(raw)
            if deltas and not seen:
                tally.first(monotonic() - asked_s)
            seen += deltas
            tally.messages += deltas > 0
            tally.deltas += deltas
            tally.replies += is_last
    finally:
        call.cancel()


class _Direct:
    """The provider itself, with the face of a gRPC call."""

    def __init__(self, reads: AsyncGenerator[bytes, None]) -> None:
        self._reads = reads

    async def read(self) -> Any:
        return await anext(self._reads, grpc.aio.EOF)

    def cancel(self) -> None:
        """Nothing: replies are always read to their end."""


def _caller(channel: grpc.aio.Channel, method: str, request: bytes) -> Callable[[], Any]:
    call: Any = channel.unary_stream(method)  # bytes in, bytes out
    return partial(call, request)


@asynccontextmanager
async def _callers(job: Job) -> AsyncGenerator[list[Callable[[], Any]]]:
    """One function for each channel that begins a call with the job's prompt."""
    script = Script(**job.script)
    request = chat_pb2.StreamChatRequest(model="bench", prompt=script.prompt()).SerializeToString()
    if job.method == "direct":
        provider = Provider(job.provider_port)
        yield [lambda: _Direct(provider.post(request))]
        return
    if job.method in {HTTP, HTTP_GENERATE}:
        front = Provider(int(job.address.rpartition(":")[2]), job.method)
        yield [lambda: _Direct(front.post(chat_json(script)))]
        return
    # Without pools of their own all channels would share one connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(job.address, options=options) for _ in range(_CHANNELS)]
    try:
        for channel in channels:
            await channel.channel_ready()
        yield [_caller(channel, job.method, request) for channel in channels]
    finally:
        for channel in channels:
            await channel.close()


async def _window(job: Job, tally: Tally) -> Found:
    """Watch for the job's time."""
    was, waited, begun_s = replace(tally), len(tally.first_token_s), monotonic()
    pids = (job.pid, job.provider_pid, os.getpid())
    busy_s, before = busy_cpu_s(), [cpu_s(pid) for pid in pids]
    await asyncio.sleep(job.seconds)
    server_s, provider_s, client_s = (cpu_s(pid) - used_s for pid, used_s in zip(pids, before, strict=True))
    return Found(
        monotonic() - begun_s,
        tally.deltas - was.deltas,
        tally.messages - was.messages,
        tally.replies - was.replies,
        server_s,
        provider_s,
        client_s,
        max(0.0, busy_cpu_s() - busy_s - server_s - provider_s - client_s),
        memory_mb(job.pid, "VmRSS"),
        memory_mb(job.pid, "VmHWM"),
        tally.first_token_s[waited:],
    )


async def _again_and_again(caller: Callable[[], Any], count: Callable[[bytes], tuple[int, bool]], tally: Tally) -> None:
    while True:
        await _reply(caller, count, tally)


async def run(job: Job) -> Found:
    """Do it: streams begin one after another over a second, flow, are watched, and are cancelled."""
    tally = Tally(job.streams)
    count = _count if job.method == STREAM_CHAT else _count_relayed
    spread_s = min(1.0, job.streams * 0.01)
    async with _callers(job) as callers, asyncio.TaskGroup() as readers:
        tasks = []
        for number in range(job.streams):
            caller = callers[number % len(callers)]
            tasks.append(readers.create_task(_again_and_again(caller, count, tally)))
            await asyncio.sleep(spread_s / job.streams)
        await tally.all_flow.wait()
        await asyncio.sleep(_SETTLE_S)
        found = await _window(job, tally)
        for task in tasks:
            task.cancel()
    return found


async def _main(announce: Callable[[str], None]) -> None:
    announce(json.dumps(asdict(await run(Job(**json.loads(sys.argv[1]))))))


if __name__ == "__main__":
    uvloop.run(run_until_orphaned(_main))
