"""Each figure: which jobs it runs, in which order, and what it makes of what they found."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median

from benchmarks.children import Child, memory_mb, output_of
from benchmarks.load import Found, Job
from benchmarks.script import HTTP, HTTP_GENERATE, RELAY, STREAM_CHAT, Script


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: rounds in `values`, worded by `report`."""

    name: str
    unit: str
    values: Sequence[float]
    goal: str = ""
    note: str = ""
    digits: int = 1


@dataclass(slots=True)
class Bench:
    """The processes, and how long to look at them."""

    provider: Child
    bare: Child
    service: Child
    bare_http: Child
    front: Child
    """The service again, on its other port."""

    idle_mb: float
    rounds: int
    seconds: float
    times: int
    lines: dict[str, list[Line]] = field(default_factory=dict)

    async def job(self, server: Child, method: str, streams: int, script: Script, seconds: float) -> Found:
        job = Job(
            server.address, server.pid, self.provider.pid, self.provider.port, method, streams, seconds, asdict(script)
        )
        found = Found(**json.loads(await output_of("benchmarks.load", json.dumps(asdict(job)))))
        await asyncio.sleep(0.3)  # let what was cancelled be cleaned up, outside of anybody's window
        return found


async def paced(bench: Bench) -> list[Line]:
    """256 streams of 50 tokens/s: what a token costs where each arrives alone."""
    script = Script(count=1_000_000, rate_hz=50)
    bare, relay, full = await _rounds(bench, 256, script, (bench.bare, STREAM_CHAT), (bench.bare, RELAY), None)
    name = "paced 256 x 50/s"
    return [
        Line(f"{name}, bare generator", "us CPU/token", [_us(found) for found in bare]),
        Line(f"{name}, bare byte relay", "us CPU/token", [_us(found) for found in relay]),
        Line(f"{name}, stepwired", "us CPU/token", [_us(found) for found in full], note=_load(full)),
        Line(f"{name}, stepwired / bare generator", "x", _ratios(full, bare, _us), "<= 1.7", digits=2),
        Line(f"{name}, stepwired / byte relay", "x", _ratios(full, relay, _us), digits=2),
        Line("RSS idle, before the first call", "MB", [bench.idle_mb], "<= 100"),
        Line("RSS with 256 streams flowing", "MB", [found.rss_mb for found in full]),
        Line("RSS peak (VmHWM) so far", "MB", [full[-1].peak_mb]),
    ]


async def flood(bench: Bench) -> list[Line]:
    """32 streams as fast as they are taken."""
    script = Script(count=20_000, per_write=8)
    bare, relay, full = await _rounds(bench, 32, script, (bench.bare, STREAM_CHAT), (bench.bare, RELAY), None)
    return [
        Line("flooded 32 streams, bare generator", "us CPU/delta", [_us(found) for found in bare]),
        Line("flooded 32 streams, bare byte relay", "us CPU/delta", [_us(found) for found in relay], digits=2),
        Line("flooded 32 streams, stepwired", "us CPU/delta", [_us(found) for found in full], "<= 6", _load(full), 2),
        Line("flooded 32 streams, stepwired", "deltas/s", [found.deltas / found.seconds for found in full], digits=0),
    ]


async def short(bench: Bench) -> list[Line]:
    """Replies of 20 tokens, written one by one without a pause, 16 at a time: what a request costs."""
    relay, full = await _rounds(bench, 16, Script(count=20), (bench.bare, RELAY), None)
    return [
        Line("20-token replies, bare byte relay", "ms CPU/request", [_ms(found) for found in relay], digits=2),
        Line("20-token replies, stepwired", "ms CPU/request", [_ms(found) for found in full], "", _load(full), 2),
        Line("20-token replies, stepwired / byte relay", "x", _ratios(full, relay, _ms), "<= 1.3", digits=2),
        Line("20-token replies, stepwired", "requests/s", [found.replies / found.seconds for found in full], digits=0),
    ]


async def ttft(bench: Bench) -> list[Line]:
    """Time to the first token, 16 streams of 20 tokens at 100/s: through a server less straight from the provider."""
    script = Script(count=20, rate_hz=100)
    direct, relay, full = await _rounds(bench, 16, script, (bench.provider, "direct"), (bench.bare, RELAY), None)
    lines = [
        Line(f"first token p{part}, {name}", "ms", [_percentile(found, part) for found in founds], digits=2)
        for name, founds in (("straight", direct), ("bare byte relay", relay), ("stepwired", full))
        for part in (50, 99)
    ]
    for part, goal in ((50, "<= 1"), (99, "<= 3")):
        added = [_percentile(new, part) - _percentile(old, part) for new, old in zip(full, direct, strict=True)]
        lines.append(Line(f"first token p{part}, added by stepwired", "ms", added, goal, digits=2))
    return lines


async def cancel(bench: Bench) -> list[Line]:
    """From the end of a call to the closed socket at the provider."""
    job = {"address": bench.service.address, "port": bench.provider.port, "times": bench.times}
    found: dict[str, list[float | None]] = json.loads(await output_of("benchmarks.cancel", json.dumps(job)))
    lines = [_closed(f"cancel, {name}", late) for name, late in found.items()]
    return [*lines, Line("RSS after all of this", "MB", [memory_mb(bench.service.pid, "VmRSS")])]


def _closed(name: str, late: Sequence[float | None]) -> Line:
    closed = [each for each in late if each is not None]
    note = f"{len(closed)} of {len(late)} closed"
    if len(closed) < len(late):
        note = f"{len(late) - len(closed)} of {len(late)} NOT CLOSED within 5 s"
    return Line(name, "ms to close", closed, "p50 2, worst 10", note, 2)


async def front(bench: Bench) -> list[Line]:
    """The HTTP front: replies of 20 tokens as in `short`, the first token as in `ttft`, and callers who hang up."""
    script = Script(count=20)
    generated, relayed, full = await _rounds(
        bench, 16, script, (bench.bare_http, HTTP_GENERATE), (bench.bare_http, HTTP), (bench.front, HTTP)
    )
    name = "HTTP, 20-token replies"
    lines = [
        Line(f"{name}, bare Starlette stream", "ms CPU/request", [_ms(found) for found in generated], digits=2),
        Line(f"{name}, bare Starlette relay", "ms CPU/request", [_ms(found) for found in relayed], digits=2),
        Line(f"{name}, stepwired", "ms CPU/request", [_ms(found) for found in full], "<= 0.45", _load(full), 2),
        Line(f"{name}, stepwired / bare stream", "x", _ratios(full, generated, _ms), digits=2),
        Line(f"{name}, stepwired / bare relay", "x", _ratios(full, relayed, _ms), digits=2),
        Line(f"{name}, stepwired", "requests/s", [found.replies / found.seconds for found in full], digits=0),
    ]
    script = Script(count=20, rate_hz=100)
    direct, full = await _rounds(bench, 16, script, (bench.provider, "direct"), (bench.front, HTTP))
    for part, goal in ((50, "<= 1"), (99, "<= 3")):
        added = [_percentile(new, part) - _percentile(old, part) for new, old in zip(full, direct, strict=True)]
        lines.append(Line(f"HTTP, first token p{part}, added by stepwired", "ms", added, goal, digits=2))
    job = {"front_port": bench.front.port, "port": bench.provider.port, "times": bench.times}
    ended: dict[str, list[float | None]] = json.loads(await output_of("benchmarks.hang_up", json.dumps(job)))
    return [*lines, *(_closed(f"HTTP, caller hangs up, {name}", late) for name, late in ended.items())]


async def steps(bench: Bench) -> list[Line]:
    """The core of steps, without a wire around it: what an item costs on its way."""
    found: dict[str, list[float]] = json.loads(
        await output_of("benchmarks.steps", json.dumps({"rounds": bench.rounds}))
    )
    name = "100,000 items through (x) => x * 2"
    return [
        Line("steps, one hop of bind", "us CPU/item", found["hop"]),
        Line("steps, pipeline of three stages", "us CPU/item", found["three"]),
        Line(f"steps, {name}", "us/item", found["script wall"], "<= 10"),
        Line(f"steps, {name}, in the server", "us CPU/item", found["script cpu"]),
        Line(f"steps, {name}, in its process", "us CPU/item", found["script child cpu"]),
        Line("steps, a million items through map, filter, take", "us CPU/item", found["million"]),
        Line("steps, a million items, memory added at the peak", "MB", found["million mb"]),
    ]


FIGURES: dict[str, Callable[[Bench], Awaitable[list[Line]]]] = {
    "paced": paced,
    "flood": flood,
    "short": short,
    "ttft": ttft,
    "cancel": cancel,
    "front": front,
    "steps": steps,
}


async def _rounds(bench: Bench, streams: int, script: Script, *sides: tuple[Child, str] | None) -> list[list[Found]]:
    """Measure all sides in turn, again and again, so that a noisy moment does not hit one of them alone."""
    found: list[list[Found]] = [[] for _ in sides]
    for _ in range(bench.rounds):
        for side, rounds in zip(sides, found, strict=True):
            server, method = side or (bench.service, STREAM_CHAT)
            rounds.append(await bench.job(server, method, streams, script, bench.seconds))
    return found


def _us(found: Found) -> float:
    return found.server_cpu_s / max(found.deltas, 1) * 1e6


def _ms(found: Found) -> float:
    return found.server_cpu_s / max(found.replies, 1) * 1e3


def _ratios(full: list[Found], base: list[Found], cost: Callable[[Found], float]) -> list[float]:
    return [cost(one) / cost(other) for one, other in zip(full, base, strict=True)]


def _percentile(found: Found, part: int) -> float:
    times = sorted(found.first_token_s)
    return times[min(len(times) - 1, len(times) * part // 100)] * 1e3


def _load(founds: list[Found]) -> str:
    """How busy whom, and how much came through: whether the server was what limited the run."""

    def share(cpu: Callable[[Found], float]) -> str:
        return f"{median(cpu(found) / found.seconds for found in founds):.0%}"

    return (
        f"{median(found.deltas / found.seconds for found in founds):,.0f} tokens/s, "
        f"{median(found.deltas / max(found.messages, 1) for found in founds):.2f} a message; of a core: "
        f"server {share(lambda found: found.server_cpu_s)}, provider {share(lambda found: found.provider_cpu_s)}, "
        f"client {share(lambda found: found.client_cpu_s)}, others {share(lambda found: found.other_cpu_s)}"
    )
