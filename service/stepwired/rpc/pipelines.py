"""Serves `stepwire.v1.PipelineService`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import grpc

from stepwire.v1 import pipeline_pb2, pipeline_pb2_grpc
from stepwired.errors import Broken, Conflict, NotFound, Reason, Subject, Violation
from stepwired.limits import KIB, Limits
from stepwired.rpc import aside, paging
from stepwired.rpc.convert import pipelines as convert
from stepwired.rpc.kept import LONG_BYTES
from stepwired.steps.named import NamedStep
from stepwired.steps.pipelines import Pipelines
from stepwired.steps.sources import Found
from stepwired.steps.spec import Spec
from stepwired.store import parts
from stepwired.store.codec import pipelines as codec
from stepwired.store.nouns import KeptPipeline

Context = grpc.aio.ServicerContext[Any, Any]
T = TypeVar("T")

_log = logging.getLogger(__name__)


class Steps(Protocol):
    """What knows every step: `steps.registry.Registry`."""

    async def validate(self, steps: Sequence[Spec], /) -> tuple[Violation, ...]: ...

    async def find(self, name: str, /) -> Found | None: ...


class PipelineServicer(pipeline_pb2_grpc.PipelineServiceServicer):
    """Keeps pipelines.

    Args:
        store: Where they outlive the process.
        pipelines: Where runs find them; changed here alone.
        steps: Knows what pipelines may name.
        limits: Of pipelines and replies.
    """

    def __init__(self, store: parts.Pipelines, pipelines: Pipelines, steps: Steps, limits: Limits) -> None:
        self._store = store
        self._pipelines = pipelines
        self._steps = steps
        self._limits = limits
        #: Held from looking at all pipelines until a change of them is stored and known: two saves that close a circle
        #: together must see each other.
        self._changing = asyncio.Lock()

    async def SavePipeline(
        self, request: pipeline_pb2.SavePipelineRequest, _: Context
    ) -> pipeline_pb2.SavePipelineResponse:
        asked = await aside.read(convert.saving, request, self._limits)
        async with self._changing:
            kept = await self._same(asked)
            if kept is None:
                with self._pipelines.claimed(asked.pipeline.name):  # workers that come now are told so
                    await self._check(asked)
                    kept = await _done(self._save(asked))
        return pipeline_pb2.SavePipelineResponse(pipeline=(await _decoded(kept))[0])

    async def GetPipeline(
        self, request: pipeline_pb2.GetPipelineRequest, _: Context
    ) -> pipeline_pb2.GetPipelineResponse:
        kept = await self._store.pipeline(*convert.named(request))
        return pipeline_pb2.GetPipelineResponse(pipeline=(await _decoded(kept))[0])

    async def ListPipelines(
        self, request: pipeline_pb2.ListPipelinesRequest, _: Context
    ) -> pipeline_pb2.ListPipelinesResponse:
        asked = convert.listing(request)
        found, end = await self._store.pipelines(
            name=asked.name,
            page_size=asked.page_size,
            page_bytes=self._limits.reply_bytes - KIB - 8 * asked.page_size,  # for the token, and each one's frame
            after=asked.after,
        )
        return pipeline_pb2.ListPipelinesResponse(
            pipelines=await _decoded(*found), next_page_token=paging.token(asked.call, end) if end else ""
        )

    async def DeletePipeline(
        self, request: pipeline_pb2.DeletePipelineRequest, _: Context
    ) -> pipeline_pb2.DeletePipelineResponse:
        name, version = convert.named(request)
        async with self._changing:
            gone = await _done(self._delete(name, version))
        return pipeline_pb2.DeletePipelineResponse(version_count=len(gone))

    async def _same(self, asked: convert.Saving) -> KeptPipeline | None:
        """What is there already under this version, or the highest, with the same content.

        It needs no further look, even if it could not run any more.
        """
        if asked.before:  # its name or version may be none
            return None
        try:
            kept = await self._store.pipeline(asked.pipeline.name, asked.pipeline.version)
        except NotFound:
            return None
        content = await _aside(len(kept.body), lambda: codec.content(codec.decode(kept.body)))
        return kept if content == asked.content else None

    async def _check(self, asked: convert.Saving) -> None:
        """Refuse a pipeline with faults, and one whose name is that of another kind of step.

        Raises:
            InvalidRequest: With every fault.
            Conflict: STEP_EXISTS.
            Throttled: STORE_FULL.
        """
        name = asked.pipeline.name
        there = await self._steps.find(name)
        owner = there.provider if isinstance(there, NamedStep) else ""
        # To name a step of another kind leads nowhere back.
        loops = [] if owner else list(self._pipelines.loops(asked.pipeline))
        looping = {fault.field for fault in loops}  # that such a name is also unknown says nothing more
        others = [fault for fault in await self._steps.validate(asked.pipeline.steps) if fault.field not in looping]
        asked.stop([*loops, *others])
        if owner:
            text = f"`{name}` is the name of a step of another kind ({owner}): choose another name"
            raise Conflict(Reason.STEP_EXISTS, text, subject=Subject("step", name))
        self._pipelines.check_room(asked.listed)

    async def _save(self, asked: convert.Saving) -> KeptPipeline:
        kept = await self._store.save_pipeline(asked.pipeline.name, asked.pipeline.version, asked.content)
        saved = replace(asked.pipeline, version=kept.version)
        self._pipelines.put([replace(asked.listed, pipeline=saved)])
        return kept

    async def _delete(self, name: str, version: str) -> Sequence[str]:
        gone = await self._store.delete_pipeline(name, version)
        self._pipelines.remove(name, gone)
        return gone


async def load(store: parts.Pipelines, pipelines: Pipelines, limits: Limits) -> None:
    """Put all that is stored where runs find it. What of it is damaged stays in the store, and is not found.

    Raises:
        Failure: The store cannot be read at all.
    """
    found = []
    async with aclosing(store.whole_pipelines()) as stored:
        async for kept in stored:
            name = f"{kept.name}@{kept.version}"
            try:
                listed, faults = convert.stored(kept, limits)
            except Broken as broken:
                _log.warning("pipeline %s is left out: %s", name, broken)
                continue
            for fault in faults[:1]:
                _log.warning("pipeline %s cannot run: %s: %s", name, fault.field, fault.description)
            found.append(listed)
    pipelines.put(found)


async def _decoded(*kept: KeptPipeline) -> list[pipeline_pb2.Pipeline]:
    """Read stored pipelines."""
    size_bytes = sum(len(each.body) for each in kept)
    return await _aside(size_bytes, lambda: [codec.decode(each.body) for each in kept])


async def _aside(size_bytes: int, work: Callable[[], T]) -> T:
    """Do work on so many bytes: at once if they are few, else in a thread."""
    return work() if size_bytes <= LONG_BYTES else await asyncio.to_thread(work)


async def _done(change: Coroutine[Any, Any, T]) -> T:
    """Wait until a change is stored and known, even for a caller who is gone: the next one has to see it."""
    changing = asyncio.ensure_future(change)
    try:
        return await asyncio.shield(changing)
    finally:
        await asyncio.wait([changing])
