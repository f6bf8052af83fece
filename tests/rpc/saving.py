"""Pipelines over the wire: a real server and store, and calls by name."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from stepwire.v1 import pipeline_pb2
from stepwired.errors import Reason, Violation
from stepwired.limits import Limits
from stepwired.rpc import pipelines as served
from stepwired.steps import spec
from stepwired.steps.named import NamedStep
from stepwired.steps.pipelines import Pipelines
from stepwired.steps.sources import Found
from stepwired.steps.spec import Spec
from stepwired.store.sqlite import SqliteStore
from tests.rpc.serving import Client, serve

UP: list[dict[str, Any]] = [{"named": "upper"}]


@dataclass
class Known:
    """Knows `upper` and `lower`, a worker's `far`, and what is saved."""

    pipelines: Pipelines
    claimed: list[str] = field(default_factory=list)
    """Names that nobody else could take while a pipeline was looked at."""

    async def find(self, name: str) -> Found | None:
        if name in {"upper", "lower", "far"}:
            return NamedStep(name, str, provider="worker" if name == "far" else "builtin")
        return await self.pipelines.find(name, "")

    async def validate(self, steps: Sequence[Spec]) -> tuple[Violation, ...]:
        self.claimed = [name for name in ("p", "q") if self.pipelines.has(name)]
        return tuple([found async for found in self._faults(steps)])

    async def _faults(self, steps: Iterable[Spec]) -> AsyncGenerator[Violation]:
        for step in steps:
            if step.kind is None:
                yield Violation(step.path, "says nothing to do", Reason.STEP_GRAPH_INVALID)
            if isinstance(step.kind, spec.Named) and step.kind.name not in {"upper", "lower", "far"}:
                name, _, version = step.kind.name.partition("@")
                if await self.pipelines.find(name, version) is None:
                    yield Violation(f"{step.path}.named", "no such step", Reason.STEP_GRAPH_INVALID)
            async for found in self._faults(spec.inside(step.kind)):
                yield found


class Asking:
    """Calls by name: `await ask.Get(name="p")`."""

    def __init__(self, client: Client, known: Known, store: SqliteStore) -> None:
        self._stub: Any = client.pipelines
        self.known = known
        self.store = store

    def save(self, name: str = "p", steps: Any = None, **more: Any) -> Awaitable[Any]:
        pipeline = {"name": name, "steps": UP if steps is None else steps, **more}
        return self.call("SavePipeline", pipeline=pipeline)  # type: ignore[no-any-return]

    async def saved(self, *given: Any, **more: Any) -> str:
        pipeline = (await self.save(*given, **more)).pipeline
        return f"{pipeline.name}@{pipeline.version}"

    def call(self, method: str, **fields: Any) -> Any:
        request = getattr(pipeline_pb2, f"{method}Request")
        return getattr(self._stub, method)(json_format.ParseDict(fields, request()))

    async def listed(self, **fields: Any) -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            page = await self.call("ListPipelines", page_token=token, **fields)
            found += [f"{each.name}@{each.version}" for each in page.pipelines]
            if not (token := page.next_page_token):
                return found


@asynccontextmanager
async def asking(folder: Path, limits: Limits | None = None) -> AsyncGenerator[Asking]:
    limits = limits or Limits()
    store = await SqliteStore.open(folder, limits=limits, durability="relaxed")
    pipelines = Pipelines(limits)
    await served.load(store, pipelines, limits)
    known = Known(pipelines)
    steps: Any = known
    try:
        async with serve(store=store, steps=steps, limits=limits, pipelines=pipelines) as client:
            yield Asking(client, known, store)
    finally:
        await store.close()
