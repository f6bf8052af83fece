"""Serves `stepwire.v1.StepRunService`."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import grpc

from stepwire.v1 import step_run_pb2, step_run_pb2_grpc
from stepwired.errors import Broken, InvalidRequest, Reason, Throttled, Violation
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.rpc import aside
from stepwired.rpc.calls import MAX_MESSAGE_BYTES
from stepwired.rpc.convert.runs import metadata_proto, run_response, step_result
from stepwired.rpc.convert.steps import SpecReader, error_mode, run_input
from stepwired.rpc.convert.values import too_large, violation_message
from stepwired.rpc.paging import page
from stepwired.rpc.violations import Faults
from stepwired.steps.results import ErrorMode, Item, Metadata, RunEvent, RunFinished
from stepwired.steps.sources import StepInfo
from stepwired.steps.spec import Spec

Context = grpc.aio.ServicerContext[Any, Any]
#: Faults that one answer names: a thousand steps may have many each.
_MOST_VIOLATIONS = 2000

_Run = tuple[tuple[Spec, ...], Json, ErrorMode, str]


class Runner(Protocol):
    """What runs steps: `steps.registry.Registry`."""

    def validate(self, steps: Sequence[Spec], /) -> tuple[Violation, ...]: ...

    def run(
        self, steps: Sequence[Spec], value: Json, /, *, error_mode: ErrorMode, events: bool, run_id: str
    ) -> AsyncGenerator[RunEvent, None]: ...

    def infos(self) -> Sequence[StepInfo]: ...


class StepRunServicer(step_run_pb2_grpc.StepRunServiceServicer):
    """Runs pipelines of steps. Holds no state of its own.

    Args:
        steps: Runs them.
        limits: Of specs, values and replies.
    """

    def __init__(self, steps: Runner, limits: Limits) -> None:
        self._steps = steps
        self._limits = limits

    async def RunStep(
        self, request: step_run_pb2.RunStepRequest, context: Context
    ) -> AsyncGenerator[step_run_pb2.RunStepResponse, None]:
        specs, value, mode, run_id = await aside.read(self._read, request, ErrorMode.CONTINUE)
        run = self._steps.run(specs, value, error_mode=mode, events=request.events, run_id=run_id)
        seq = unsent = 0
        async with aclosing(run) as events:
            async for event in events:
                seq += 1
                if seq == 1:  # not earlier: before the first event the call can still be retried by any client
                    await context.send_initial_metadata((("x-run-id", run_id),))
                if isinstance(event, Item):
                    response = await aside.write(partial(run_response, seq), event, event.result)
                    if (size := response.ByteSize()) > MAX_MESSAGE_BYTES:
                        unsent += 1
                        response = run_response(seq, _too_large_item(event, size, mode))
                elif isinstance(event, RunFinished) and unsent:
                    counted = replace(event, results=event.results - unsent, errors=event.errors + unsent)
                    response = run_response(seq, counted)
                else:
                    response = run_response(seq, event)
                yield response

    async def CollectStep(
        self, request: step_run_pb2.CollectStepRequest, _: Context
    ) -> step_run_pb2.CollectStepResponse:
        specs, value, mode, run_id = await aside.read(self._read, request, ErrorMode.FAIL_FAST)
        response = step_run_pb2.CollectStepResponse(run_id=run_id)
        metadata: Metadata | None = None
        size = 0
        run = self._steps.run(specs, value, error_mode=mode, events=False, run_id=run_id)
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
                elif isinstance(event, RunFinished):
                    metadata = event.metadata
        if metadata is None:
            raise Broken(Reason.INTERNAL, "internal error: a run ended without its last event")
        response.metadata.CopyFrom(metadata_proto(metadata))
        if response.ByteSize() > self._limits.reply_bytes:
            raise too_large(self._limits.reply_bytes, "RunStep")
        return response

    async def ListSteps(self, request: step_run_pb2.ListStepsRequest, _: Context) -> step_run_pb2.ListStepsResponse:
        steps, token = page(
            "ListSteps",
            self._steps.infos(),
            lambda info: f"{info.name}\0{info.version}",
            page_size=request.page_size,
            page_token=request.page_token,
        )
        infos = [
            step_run_pb2.StepInfo(
                name=info.name, version=info.version, description=info.description, provider=info.provider
            )
            for info in steps
        ]
        return step_run_pb2.ListStepsResponse(steps=infos, next_page_token=token)

    async def ValidateStep(
        self, request: step_run_pb2.ValidateStepRequest, _: Context
    ) -> step_run_pb2.ValidateStepResponse:
        return await aside.read(self._validated, request)

    def _validated(self, request: step_run_pb2.ValidateStepRequest) -> step_run_pb2.ValidateStepResponse:
        faults = Faults()
        reader = SpecReader(self._limits, faults)
        specs = reader.specs(request.steps)
        found = reader.ordered([*faults.found, *self._steps.validate(specs)])
        if (more := len(found) - _MOST_VIOLATIONS) > 0:
            found = [*found[:_MOST_VIOLATIONS], Violation("steps", f"and {more} more", Reason.STEP_GRAPH_INVALID)]
        return step_run_pb2.ValidateStepResponse(violations=map(violation_message, found))

    def _read(self, request: step_run_pb2.RunStepRequest | step_run_pb2.CollectStepRequest, default: ErrorMode) -> _Run:
        """Read what to run.

        Raises:
            InvalidRequest: With every fault, those that the registry finds included.
        """
        faults, of_steps = Faults(), Faults()
        reader = SpecReader(self._limits, of_steps)
        specs = reader.specs(request.steps)
        value = run_input(request, self._limits, faults)
        mode = error_mode(request.error_mode, default, faults)
        faults.id("run_id", request.run_id)
        if faults.found or of_steps.found:  # otherwise `run` looks itself
            found = reader.ordered([*of_steps.found, *self._steps.validate(specs)])
            raise InvalidRequest.of([*found, *faults.found])
        return specs, value, mode, request.run_id or str(uuid.uuid4())


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
