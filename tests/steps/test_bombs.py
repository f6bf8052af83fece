"""Specs that make as much as they can: ended at their limit, in bounded memory. And long runs in little."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stepwired.errors import Reason, Throttled
from stepwired.events import Json
from stepwired.limits import MIB
from stepwired.steps.named import NamedStep
from stepwired.steps.results import Item
from stepwired.steps.spec import Named, Retry, Spec
from tests.steps.conftest import Scripted, events_of, registry_of
from tests.steps.peaks import LONG_COUNT

_ROOT = Path(__file__).resolve().parents[2]

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks at memory through /proc")


def run_apart(name: str) -> dict[str, Any]:
    """What `tests.steps.peaks` says of a run."""
    command = [sys.executable, "-m", "tests.steps.peaks", name]
    ended = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    said: dict[str, Any] = json.loads(ended.stdout)
    return said


@needs_proc
@pytest.mark.parametrize("name", ["steps", "maps", "parallels"])
def test_a_bomb_is_ended_when_it_crosses_its_limit_and_takes_little_memory(name: str) -> None:
    said = run_apart(name)
    assert said["limit"] == "step_values"
    assert said["grew_bytes"] < 2 * MIB


async def test_retries_of_retries_are_bounded_by_the_run() -> None:
    calls = 0

    def failing(value: Json) -> Json:
        nonlocal calls
        calls += 1
        raise Throttled(Reason.PROVIDER_OVERLOADED, "busy")

    step = Spec(Named("failing"), "f")
    for _ in range(6):
        step = Spec(Retry(step, 10, initial_delay_s=0.0), "r")
    registry = registry_of(Scripted(), named=[NamedStep("failing", failing, quick=True)])
    events = await events_of(registry, [step], 1)
    assert sum(isinstance(event, Item) for event in events) == 1
    assert calls == 101


@needs_proc
def test_a_long_run_through_map_filter_and_take_takes_little_memory() -> None:
    said = run_apart("long")
    assert said["results"] == LONG_COUNT
    assert said["grew_bytes"] < 4 * MIB
