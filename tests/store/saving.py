"""Pipelines to store, and what is said of those that are stored."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

import pytest

from stepwire.v1 import pipeline_pb2, step_run_pb2
from stepwired.errors import Failure, Reason
from stepwired.store.codec import pipelines as codec
from stepwired.store.nouns import KeptPipeline
from stepwired.store.sqlite import SqliteStore

NOW_NS = 1_700_000_000_123_456_000


def wire(text: str = "x", **more: int) -> pipeline_pb2.Pipeline:
    made = pipeline_pb2.Pipeline(description=text, steps=[step_run_pb2.Step(named=text)], labels={"b": "2", "a": "1"})
    made.input_schema.update({"type": "object", "properties": {"q": {"type": "string"}}, "n": 1, **more})
    return made


def content(text: str = "x", **more: int) -> bytes:
    return codec.content(wire(text, **more))


def told(kept: Sequence[KeptPipeline]) -> list[str]:
    return [f"{each.name}@{each.version}" for each in kept]


async def all_of(store: SqliteStore, *, name: str = "", page_size: int = 100) -> list[str]:
    """Everything that is listed, page by page."""
    found: list[str] = []
    after = ""
    while True:
        page, after = await store.pipelines(name=name, page_size=page_size, after=after)
        assert 0 < len(page) <= page_size or not after
        found += told(page)
        if not after:
            return found


async def refused(reason: Reason, work: Awaitable[object]) -> Failure:
    with pytest.raises(Failure) as caught:
        await work
    assert caught.value.reason is reason
    return caught.value
