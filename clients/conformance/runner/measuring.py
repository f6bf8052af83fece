"""Measures, in each language by itself, how fast a cancel arrives and what a client makes of a push-back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from clients.conformance.runner import cases
from clients.conformance.runner.cases import SCRIPTED, Case
from clients.conformance.runner.languages import Language
from clients.conformance.runner.playing import Player, play
from clients.conformance.runner.stage import Troupe, staging

#: The cases whose cancels are measured, and what they are called in the table.
CANCELS: Mapping[str, str] = {
    "chat-leave-early": "left after three messages",
    "chat-cancel-after-first": "cancelled after the first message",
    "chat-cancel-while-silent": "cancelled while the provider is silent",
    "chat-cancel-unary": "unary, cancelled",
}

PUSHED_MS = 700

_BUSY: Mapping[str, Any] = {"code": "UNAVAILABLE", "message": "busy"}
_GOOD: Mapping[str, Any] = {"messages": [{"models": [{"name": "m"}]}]}
_PUSHED: Mapping[str, Any] = {"trailers": {"grpc-retry-pushback-ms": str(PUSHED_MS)}}
_STOPPED: Mapping[str, Any] = {"trailers": {"grpc-retry-pushback-ms": "-1"}}

#: What the server answers to `ListModels`, which clients may repeat by themselves.
_ANSWERS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "without": [_BUSY],
    "pushed": [{**_BUSY, **_PUSHED}, _GOOD],
    "stopped": [{**_BUSY, **_STOPPED}],
    "exhausted": [{**_BUSY, **_PUSHED, "code": "RESOURCE_EXHAUSTED"}, _GOOD],
}


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a call came, and how long after each other, in milliseconds."""

    attempts: int
    waits_ms: list[float]


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one language.

    Attributes:
        closed_ms: For each of `CANCELS`, from the cancel to the closing of the provider's socket.
        retries: For each kind of answer, what the client made of it.
    """

    language: str
    closed_ms: Mapping[str, list[float]]
    retries: Mapping[str, Retries]

    def json(self) -> dict[str, Any]:
        """Write it as JSON."""
        return asdict(self)


async def measure(languages: Mapping[str, Language], folder: Path, rounds: int) -> list[Figures]:
    """Measure these languages, one after the other."""
    book = cases.load()
    figures = []
    async with staging(folder) as stage:
        for name, language in languages.items():
            async with AsyncExitStack() as stack:
                troupe = Troupe(stage, name, language, stack)
                await play(book.cases["chat-stream"], troupe)  # connected, and warm
                closed = {case: await _closed(book.cases[case], troupe, rounds) for case in CANCELS}
            retries = {}
            for kind, answers in _ANSWERS.items():  # a channel each: one that has failed a few times retries no more
                async with AsyncExitStack() as stack:
                    retries[kind] = await _retried(answers, Troupe(stage, name, language, stack))
            figures.append(Figures(name, closed, retries))
    return figures


async def _closed(case: Case, troupe: Troupe, rounds: int) -> list[float]:
    times_ms = []
    for _ in range(rounds):
        after_ms = await play(case, troupe)
        assert after_ms is not None
        times_ms.append(after_ms)
    return times_ms


async def _retried(answers: Sequence[Mapping[str, Any]], troupe: Troupe) -> Retries:
    call = {"call": "ChatService/ListModels", "expect": {"code": {"$any": True}}}
    case = Case("push-back", "What a client makes of it.", [call], SCRIPTED, [dict(answer) for answer in answers])
    player = Player(case, troupe, await troupe.driver(SCRIPTED))
    await player.play()
    assert player.script is not None
    times_s = player.script.times_s
    return Retries(len(times_s), [(after - before) * 1000 for before, after in pairwise(times_s)])


def markdown(figures: Sequence[Figures], languages: Mapping[str, Language]) -> str:
    """Write two tables."""
    lines = [f"| language | {' | '.join(CANCELS.values())} |", f"|---|{'---|' * len(CANCELS)}"]
    for each in figures:
        cells = [f"{median(times):.1f} ({max(times):.1f})" for times in each.closed_ms.values()]
        lines.append(f"| {languages[each.language].title} | {' | '.join(cells)} |")
    heads = ["UNAVAILABLE, no push-back", f"push-back {PUSHED_MS} ms", "push-back -1"]
    heads.append(f"RESOURCE_EXHAUSTED, push-back {PUSHED_MS} ms")
    lines += ["", f"| language | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for each in figures:
        lines.append(f"| {languages[each.language].title} | {' | '.join(map(_told, each.retries.values()))} |")
    return "\n".join(lines)


def _told(retries: Retries) -> str:
    if retries.attempts == 1:
        return "1 attempt"
    return f"{retries.attempts} attempts, after {', '.join(f'{wait:.0f}' for wait in retries.waits_ms)} ms"
