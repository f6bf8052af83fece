"""Serves `stepwire.v1.StepRunService`."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import grpc

from stepwire.v1 import step_run_pb2, step_run_pb2_grpc
from stepwired.errors import Broken, InvalidRequest, Reason, Throttled, Violation
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.rpc import aside
from stepwired.rpc.calls import MAX_MESSAGE_BYTES
from stepwired.rpc.convert.calls import WRAPPING_BYTES
from stepwired.rpc.convert.runs import metadata_proto, run_response, step_info, step_result
from stepwired.rpc.convert.steps import SpecReader, error_mode, run_input
from stepwired.rpc.convert.values import too_large, violation_message
from stepwired.rpc.interactive import run_interactive
from stepwired.rpc.paging import page
from stepwired.rpc.workers import WorkerServicer
from stepwired.steps.remote import Served
from stepwired.steps.results import ErrorMode, Item, Metadata, RunEvent, RunFinished
from stepwired.steps.sources import Found, StepInfo
from stepwired.steps.spec import Spec
from stepwired.steps.workers import Workers
from stepwired.versions import falling
from stepwired.violations import Faults

Context = grpc.aio.ServicerContext[Any, Any]
#: Faults that one answer names: a thousand steps may have many each.
_MOST_VIOLATIONS = 2000

_Request = step_run_pb2.RunStepRequest | step_run_pb2.CollectStepRequest


class Runner(Protocol):
    """What runs steps: `steps.registry.Registry`."""

    async def validate(
        self, steps: Sequence[Spec], /, *, has_client: bool = True, has_events: bool = True
    ) -> tuple[Violation, ...]: ...

    def run(
        self,
        steps: Sequence[Spec],
        value: Json,
        /,
        *,
        error_mode: ErrorMode,
        events: bool,
        run_id: str,
        client: Served | None = None,
        time_left_s: float | None = None,
    ) -> AsyncGenerator[RunEvent, None]: ...

    async def infos(self) -> Sequence[StepInfo]: ...

    async def find(self, name: str, /) -> Found | None: ...


@dataclass(frozen=True, slots=True)
class _Asked:
    """What to run, as far as it could be read."""

    specs: tuple[Spec, ...]
    value: Json
    mode: ErrorMode
    run_id: str
    reader: SpecReader
    of_steps: Sequence[Violation]
    """What is wrong with the steps, beside what the registry finds."""

    of_others: Sequence[Violation]


class StepRunServicer(step_run_pb2_grpc.StepRunServiceServicer):
    """Runs pipelines of steps. Holds no state of its own.

    Args:
        steps: Runs them.
        workers: Serve some of them.
        limits: Of specs, values and replies.
    """

    def __init__(self, steps: Runner, workers: Workers, limits: Limits) -> None:
        self._steps = steps
        self._workers = WorkerServicer(workers, limits)
        self._limits = limits

    async def RunStep(
        self, request: step_run_pb2.RunStepRequest, context: Context
    ) -> AsyncGenerator[step_run_pb2.RunStepResponse, None]:
        run_id, events = await self.begin(request, None, context.time_remaining())
        is_first = True
        async with aclosing(events) as responses:
            async for response in responses:
                if is_first:  # not earlier: before the first event the call can still be retried by any client
                    await context.send_initial_metadata((("x-run-id", run_id),))
                    is_first = False
                yield response

    async def begin(
        self, request: step_run_pb2.RunStepRequest, client: Served | None, time_left_s: float | None = None
    ) -> tuple[str, AsyncGenerator[step_run_pb2.RunStepResponse, None]]:
        """Read what to run.

        Args:
            request: What to run.
            client: The functions that the caller serves, if it does.
            time_left_s: How long the caller waits; None for as long as it takes.

        Returns:
            The run's id, and its events. Nothing has run before the first of these is asked for.

        Raises:
            InvalidRequest: The request has faults.
        """
        asked = await self._read(request, ErrorMode.CONTINUE, has_client=client is not None, has_events=request.events)
        run = self._steps.run(
            asked.specs,
            asked.value,
            error_mode=asked.mode,
            events=request.events,
            run_id=asked.run_id,
            client=client,
            time_left_s=time_left_s,
        )
        return asked.run_id, _responses(run, asked.mode, MAX_MESSAGE_BYTES - (0 if client is None else WRAPPING_BYTES))

    async def CollectStep(
        self, request: step_run_pb2.CollectStepRequest, context: Context
    ) -> step_run_pb2.CollectStepResponse:
        asked = await self._read(request, ErrorMode.FAIL_FAST, has_client=False, has_events=False)
        response = step_run_pb2.CollectStepResponse(run_id=asked.run_id)
        metadata: Metadata | None = None
        size = 0
        last_path: tuple[int, ...] = ()
        is_sorted = True
        run = self._steps.run(
            asked.specs,
            asked.value,
            error_mode=asked.mode,
            events=False,
            run_id=asked.run_id,
            time_left_s=context.time_remaining(),
        )
        async with aclosing(run) as events:
            async for event in events:
                if isinstance(event, Item):
                    result = await aside.write(step_result, event, event.result)
                    size += result.ByteSize() + 4
                    if size > self._limits.reply_bytes:
                        raise too_large(self._limits.reply_bytes, "RunStep")
                    if len(response.results) == self._limits.collect_values:
                        raise _too_many(self._limits.collect_values)
                    response.results.append(result)
                    is_sorted &= last_path <= event.path
                    last_path = event.path
                elif isinstance(event, RunFinished):
                    metadata = event.metadata
        if metadata is None:
            raise Broken(Reason.INTERNAL, "internal error: a run ended without its last event")
        if not is_sorted:  # a step is `as_completed`
            response.results.sort(key=lambda result: tuple(result.path))
        response.metadata.CopyFrom(metadata_proto(metadata))
        if response.ByteSize() > self._limits.reply_bytes:
            raise too_large(self._limits.reply_bytes, "RunStep")
        return response

    async def RunInteractive(
        self, request_iterator: AsyncIterator[step_run_pb2.RunInteractiveRequest], context: Context
    ) -> AsyncGenerator[step_run_pb2.RunInteractiveResponse, None]:
        async with aclosing(run_interactive(self.begin, self._limits, request_iterator, context)) as responses:
            async for response in responses:
                yield response

    async def ServeSteps(
        self, request_iterator: AsyncIterator[step_run_pb2.ServeStepsRequest], context: Context
    ) -> AsyncGenerator[step_run_pb2.ServeStepsResponse, None]:
        async with aclosing(self._workers.serve(request_iterator, context)) as responses:
            async for response in responses:
                yield response

    async def ListSteps(self, request: step_run_pb2.ListStepsRequest, _: Context) -> step_run_pb2.ListStepsResponse:
        steps, token = page(
            "ListSteps",
            await self._steps.infos(),
            lambda info: f"{info.name}\0{falling(info.version)}",
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return step_run_pb2.ListStepsResponse(steps=map(step_info, steps), next_page_token=token)

    async def ValidateStep(
        self, request: step_run_pb2.ValidateStepRequest, _: Context
    ) -> step_run_pb2.ValidateStepResponse:
        asked = await aside.read(self._converted, request, ErrorMode.CONTINUE)
        found = asked.reader.ordered([*asked.of_steps, *await self._steps.validate(asked.specs)])
        if (more := len(found) - _MOST_VIOLATIONS) > 0:
            found = [*found[:_MOST_VIOLATIONS], Violation("steps", f"and {more} more", Reason.STEP_GRAPH_INVALID)]
        return step_run_pb2.ValidateStepResponse(violations=map(violation_message, found))

    async def _read(self, request: _Request, default: ErrorMode, *, has_client: bool, has_events: bool) -> _Asked:
        """Read what to run.

        Raises:
            InvalidRequest: With every fault, those that the registry finds included.
        """
        asked = await aside.read(self._converted, request, default)
        if asked.of_steps or asked.of_others:  # otherwise `run` looks itself
            more = await self._steps.validate(asked.specs, has_client=has_client, has_events=has_events)
            raise InvalidRequest.of([*asked.reader.ordered([*asked.of_steps, *more]), *asked.of_others])
        return asked

    def _converted(self, request: _Request | step_run_pb2.ValidateStepRequest, default: ErrorMode) -> _Asked:
        of_steps, others = Faults(), Faults()
        reader = SpecReader(self._limits, of_steps)
        specs = reader.specs(request.steps)
        if isinstance(request, step_run_pb2.ValidateStepRequest):
            return _Asked(specs, None, default, "", reader, of_steps.found, ())
        others.json_values = of_steps.json_values  # all JSON of one request counts together
        value = run_input(request, self._limits, others)
        mode = error_mode(request.error_mode, default, others)
        others.id("run_id", request.run_id)
        run_id = request.run_id or str(uuid.uuid4())
        return _Asked(specs, value, mode, run_id, reader, of_steps.found, others.found)


async def _responses(
    run: AsyncGenerator[RunEvent, None], mode: ErrorMode, limit_bytes: int
) -> AsyncGenerator[step_run_pb2.RunStepResponse, None]:
    """Write the events of a run. What cannot be sent is a failure in its place."""
    seq = unsent = 0
    async with aclosing(run) as events:
        async for event in events:
            seq += 1
            if isinstance(event, Item):
                response = await aside.write(partial(run_response, seq), event, event.result)
                if (size := response.ByteSize()) > limit_bytes:
                    unsent += 1
                    response = run_response(seq, _too_large_item(event, size, mode))
            elif isinstance(event, RunFinished) and unsent:
                counted = replace(event, results=event.results - unsent, errors=event.errors + unsent)
                response = run_response(seq, counted)
            else:
                response = run_response(seq, event)
            yield response


def _too_large_item(item: Item, size: int, mode: ErrorMode) -> Item:
    """What stands in the place of a result that cannot be sent.

    Raises:
        Throttled: The run ends at its first failure.
    """
    text = f"the result has {size} bytes, and clients read at most {MAX_MESSAGE_BYTES}"
    failure = Throttled(Reason.RESPONSE_TOO_LARGE, text, metadata={"limitBytes": str(MAX_MESSAGE_BYTES)})
    if mode is ErrorMode.FAIL_FAST:
        raise failure
    return Item(item.path, failure)


def _too_many(limit: int) -> Throttled:
    text = f"the run has more than {limit} results: call RunStep instead"
    return Throttled(Reason.RESPONSE_TOO_LARGE, text, metadata={"limitResults": str(limit)})
