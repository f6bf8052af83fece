"""A run in a process of its own, `python -m tests.steps.peaks maps`: prints what came of it, and by how much it grew.

What a test process once needed for other tests hides what this one needs.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

from stepwired.errors import Throttled
from stepwired.events import Json
from stepwired.limits import KIB, Limits
from stepwired.steps.named import NamedStep
from stepwired.steps.registry import Registry
from stepwired.steps.results import ErrorMode, Item
from stepwired.steps.spec import Compose, Filter, Javascript, Kind, Map, Named, Parallel, Spec, Take
from tests.steps.conftest import Functions, Scripted, placed, registry_of

LONG_COUNT = 30_000


def _copies(value: Json) -> Iterator[Json]:
    for _ in range(100):
        yield value


def _numbers(value: Json) -> Iterator[Json]:
    yield from range(LONG_COUNT * 4)


_MANY = Spec(Named("many"), "n")
RUNS: dict[str, list[Kind]] = {
    "steps": [Named("copies")] * 5,
    "maps": [Compose((_MANY, Spec(Map(Spec(Compose(()), "i")), "m")))] * 5,
    "parallels": [Compose((_MANY, Spec(Parallel(Spec(Compose(()), "i"), 16, as_completed=True), "m")))] * 5,
    "long": [Named("numbers"), Javascript("double"), Filter(Spec(Javascript("even"), "where")), Take(LONG_COUNT)],
}


def _registry(limits: Limits) -> Registry:
    named = [
        NamedStep("copies", _copies, quick=True),
        NamedStep("many", lambda value: [value] * 100, quick=True),
        NamedStep("numbers", _numbers, quick=True),
    ]
    functions = Functions({"double": lambda x, _: x * 2, "even": lambda x, _: x % 4 == 0})
    return registry_of(Scripted(), limits, named=named, functions=functions)


def _peak_bytes() -> int:
    """Of this program, not of the one that started it, which `getrusage` counts, too."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * KIB


async def _main(name: str) -> None:
    registry = _registry(Limits() if name == "long" else Limits(step_values=20_000))
    gc.collect()
    before = _peak_bytes()
    results, limit_name = 0, ""
    run = registry.run(placed(*RUNS[name]), "x" * 100, error_mode=ErrorMode.CONTINUE, events=False, run_id="r")
    try:
        async with aclosing(run) as events:
            async for event in events:
                results += isinstance(event, Item)
    except Throttled as failure:
        limit_name = failure.metadata["limitName"]
    print(json.dumps({"results": results, "limit": limit_name, "grew_bytes": _peak_bytes() - before}))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
