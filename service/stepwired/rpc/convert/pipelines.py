"""Pipelines, both ways."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from stepwire.v1 import pipeline_pb2
from stepwired import versions
from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.limits import KIB, Limits
from stepwired.rpc import paging
from stepwired.rpc.convert.schemas import schema as schema_of
from stepwired.rpc.convert.steps import SpecReader
from stepwired.steps.pipelines import Listed
from stepwired.steps.sources import SavedPipeline
from stepwired.steps.spec import Spec
from stepwired.store.codec import pipelines as codec
from stepwired.store.nouns import KeptPipeline
from stepwired.violations import Faults

DESCRIPTION_BYTES = 1 * KIB


@dataclass(frozen=True, slots=True)
class Saving:
    """A pipeline that is to be saved, with what is wrong with it as far as that shows without knowing any other."""

    listed: Listed
    content: bytes
    """What makes the version; see `codec.pipelines.content`."""

    steps: SpecReader
    before: Sequence[Violation]
    of_steps: Sequence[Violation]
    after: Sequence[Violation]

    @property
    def pipeline(self) -> SavedPipeline:
        """The pipeline; without a version if one is to be chosen."""
        return self.listed.pipeline

    def stop(self, more: Iterable[Violation]) -> None:
        """Refuse it if there is any fault.

        Args:
            more: What others found wrong with its steps, whose paths begin with `steps`.

        Raises:
            InvalidRequest: With every fault, in the order of the request.
        """
        of_steps = self.steps.ordered([*self.of_steps, *more])
        moved = [replace(found, field=f"pipeline.{found.field}") for found in of_steps]
        if found := [*self.before, *moved, *self.after]:
            raise InvalidRequest.of(found)


def saving(given: pipeline_pb2.SavePipelineRequest, limits: Limits) -> Saving:
    """Read what to save.

    Raises:
        InvalidRequest: There is no pipeline at all.
    """
    before, of_steps, after = Faults(), Faults(), Faults()
    if not given.HasField("pipeline"):
        before.add("pipeline", "is needed", Reason.FIELD_REQUIRED)
        before.stop()
    wire = given.pipeline
    before.id("pipeline.name", wire.name, required=True)
    _version("pipeline.version", wire.version, before)
    before.text("pipeline.description", wire.description, DESCRIPTION_BYTES)
    if not wire.steps:
        before.add("pipeline.steps", "is needed: it is empty", Reason.FIELD_REQUIRED)
    reader = SpecReader(limits, of_steps)
    steps: tuple[Spec, ...] = ()
    if (size := sum(step.ByteSize() for step in wire.steps)) > limits.pipeline_bytes:
        before.add("pipeline.steps", f"has {size} bytes as protobuf, and the limit is {limits.pipeline_bytes}")
    else:
        steps = reader.specs(wire.steps)
    after.json_values = of_steps.json_values
    schema = schema_of("pipeline", wire, "input_schema", limits, after)
    SpecReader(limits, after).labels("pipeline.labels", wire.labels)
    content = codec.content(wire)
    pipeline = SavedPipeline(wire.name, wire.version, steps, schema)
    listed = Listed.of(pipeline, wire.description, len(content))
    return Saving(listed, content, reader, before.found, of_steps.found, after.found)


def stored(kept: KeptPipeline, limits: Limits) -> tuple[Listed, Sequence[Violation]]:
    """Read a pipeline that was saved, and what is wrong with it now: a limit that was lowered since.

    One with faults has a step that does nothing, so that it is refused wherever it is named.

    Raises:
        Broken: STORE_CORRUPT.
    """
    faults = Faults()
    wire = codec.decode(kept.body)
    steps = SpecReader(limits, faults).specs(wire.steps)
    schema = schema_of("", wire, "input_schema", limits, faults)
    if faults.found or not steps:
        steps = (Spec(None, "steps[0]"),)
    pipeline = SavedPipeline(kept.name, kept.version, steps, schema)
    return Listed.of(pipeline, wire.description, len(kept.body)), faults.found


@dataclass(frozen=True, slots=True)
class Listing:
    """Which pipelines to list."""

    call: str
    """What tokens of further pages are made for."""

    page_size: int
    after: str
    name: str


def listing(given: pipeline_pb2.ListPipelinesRequest) -> Listing:
    """Read which pipelines to list.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    call = paging.asked("ListPipelines", given)
    size = paging.size_of(given.page_size, faults)
    after = paging.position(call, given.page_token, faults)
    faults.id("name", given.name)
    faults.stop()
    return Listing(call, size, after, given.name)


def named(given: pipeline_pb2.GetPipelineRequest | pipeline_pb2.DeletePipelineRequest) -> tuple[str, str]:
    """Read which version of which pipeline is meant.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    faults.id("name", given.name, required=True)
    _version("version", given.version, faults)
    faults.stop()
    return given.name, given.version


def _version(path: str, given: str, faults: Faults) -> None:
    if given and (why := versions.fault(given)):
        faults.add(path, why)
