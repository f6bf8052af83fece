"""The core of steps in a process of its own: `python -m benchmarks.steps '{"rounds": 3}'` writes figures as JSON."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing

import uvloop

from benchmarks.children import memory_mb
from stepwired.events import ChatRequest, Embeddings, EmbedRequest, Json
from stepwired.limits import Limits
from stepwired.sandbox.pool import Sandbox
from stepwired.steps.core import Input, Results, Stage, chain, each, items
from stepwired.steps.leaves import Models
from stepwired.steps.named import NamedStep
from stepwired.steps.registry import Registry
from stepwired.steps.results import ErrorMode, Item
from stepwired.steps.spec import Filter, Javascript, Kind, Map, Named, Spec, Spread, Take

_ITEMS = 20_000
_SCRIPT_ITEMS = 100_000
_MILLION = 1_000_000


async def _no_chat(request: ChatRequest) -> AsyncGenerator[Sequence[object], None]:
    raise AssertionError("nothing here asks a model")
    yield ()


async def _no_embed(request: EmbedRequest) -> Embeddings:
    raise AssertionError("nothing here asks a model")


def _million(_: Json) -> Iterator[Json]:
    yield from range(_MILLION)


_STEPS = (
    NamedStep("same", lambda value: value, quick=True),
    NamedStep("double", lambda value: value * 2, quick=True),
    NamedStep("even", lambda value: value % 4 == 0, quick=True),
    NamedStep("million", _million, quick=True),
)


def _registry(functions: Sandbox | None = None) -> Registry:
    models = Models(_no_chat, _no_embed, lambda _: ChatRequest(), lambda value: value)  # type: ignore[arg-type, return-value]
    limits = Limits(step_values=4 * _MILLION)
    return Registry(models, {step.name: {"1": step} for step in _STEPS}, limits, functions=functions)


async def _run_us(registry: Registry, kinds: Sequence[Kind], value: Json, count: int) -> dict[str, float]:
    """Run a pipeline to its end: microseconds for each of `count` items, by the clock and of CPU."""
    specs = [Spec(kind, f"steps[{index}]") for index, kind in enumerate(kinds)]
    begun_s, cpu_s = time.perf_counter(), time.process_time()
    async with aclosing(
        registry.run(specs, value, error_mode=ErrorMode.CONTINUE, events=False, run_id="bench")
    ) as events:
        results = sum([isinstance(event, Item) async for event in events])
    assert results
    return {
        "wall": (time.perf_counter() - begun_s) / count * 1e6,
        "cpu": (time.process_time() - cpu_s) / count * 1e6,
    }


async def _same(given: Input) -> Results:
    yield given.value


async def _chain_us(stages: int) -> float:
    """Items through bare stages of the algebra, joined by queues of one."""
    joined: Stage = chain([each(_same)] * stages, [1] * stages)
    cpu_s = time.process_time()
    async with aclosing(joined(items(Input((index,), index) for index in range(_ITEMS)))) as outputs:
        assert sum([1 async for _ in outputs]) == _ITEMS
    return (time.process_time() - cpu_s) / _ITEMS * 1e6


async def _measured(rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    registry = _registry()
    numbers: Json = list(range(_ITEMS))
    functions = await Sandbox.open(Limits(), processes_count=1)
    try:
        for _ in range(rounds):
            note("hop", (await _chain_us(4) - await _chain_us(1)) / 3)
            note("three", (await _run_us(registry, [Spread(), Named("same"), Named("double")], numbers, _ITEMS))["cpu"])
            script = Map(Spec(Javascript("(x) => x * 2"), "steps[0].map.step"))
            took = await _run_us(_registry(functions), [script], list(range(_SCRIPT_ITEMS)), _SCRIPT_ITEMS)
            note("script wall", took["wall"])
            note("script cpu", took["cpu"])
        before_mb = memory_mb(os.getpid(), "VmHWM")
        even = Filter(Spec(Named("even"), "where"))
        kinds: list[Kind] = [Named("million"), Named("double"), even, Take(_MILLION // 2)]
        note("million", (await _run_us(registry, kinds, None, _MILLION))["cpu"])
        note("million mb", memory_mb(os.getpid(), "VmHWM") - before_mb)
    finally:
        await functions.close()
    note("script child cpu", resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime / rounds / _SCRIPT_ITEMS * 1e6)
    return found


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_measured(json.loads(sys.argv[1])["rounds"]))))
