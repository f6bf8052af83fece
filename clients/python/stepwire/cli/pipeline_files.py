"""Reads pipelines out of YAML and JSON files, and says in which line of them something is wrong.

    # shout.yaml
    name: shout
    description: The lines of a text, louder.
    steps:
      - lines
      - named: upper

A file holds a list of steps, or an object with `steps`, and beside them what is known of the pipeline: `name`,
`version`, `description`, `input_schema`, `labels`, and an `input` to run it with. A step is the name of one, or what
the wire's JSON says of one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import IO, Any

from google.protobuf import json_format

from stepwire.cli.documents import Document, DocumentError, dump
from stepwire.cli.failures import WRONG_REQUEST
from stepwire.cli.frame import Frame
from stepwire.cli.proto_faults import fault_in
from stepwire.v1.pipeline_pb2 import Pipeline
from stepwire.v1.step_run_pb2 import Step

FACTS = ("labels", "input_schema")
KEYS = ("name", "version", "description", *FACTS, "steps", "input")


class PipelineFileError(Exception):
    """A file holds no pipeline. `str()` of it names the file, the line, the place in the pipeline and what is wrong."""

    def __init__(self, file: str, line: int, path: str, why: str) -> None:
        place = f"{file}:{line}" if line else file
        super().__init__(": ".join(part for part in (place, path, why) if part))
        self.file, self.line, self.path, self.why = file, line, path, why


@dataclass(frozen=True, slots=True)
class PipelineFile:
    """What a file says of a pipeline. Texts that it does not say are empty."""

    steps: list[Step]
    name: str = ""
    version: str = ""
    description: str = ""
    input_schema: dict[str, Any] | None = None
    labels: dict[str, str] = field(default_factory=dict)
    input: Any = None


def read(text: str, file: str) -> PipelineFile:
    """Read a pipeline.

    Args:
        text: What the file holds.
        file: Its name, by which `documents.Document` tells YAML from JSON.

    Raises:
        PipelineFileError: It holds none.
    """
    try:
        document = Document(text, file)
    except DocumentError as error:
        raise PipelineFileError(file, error.line, "", str(error)) from None
    try:
        return _pipeline(document)
    except _Fault as fault:
        # A file that is a list has no key of that name.
        line = document.line(fault.path if isinstance(document.value, dict) else fault.path.removeprefix("steps"))
        raise PipelineFileError(file, line, fault.path, fault.why) from None
    except RecursionError:
        raise PipelineFileError(file, 0, "", "nested too deep") from None


class _Fault(Exception):
    def __init__(self, path: str, why: str) -> None:
        self.path, self.why = path, why


def _pipeline(document: Document) -> PipelineFile:
    value = {"steps": document.value} if isinstance(document.value, list) else document.value
    if not isinstance(value, dict) or "steps" not in value:
        raise _Fault("", "neither a list of steps nor an object with `steps`")
    for key in value:
        if key not in KEYS:
            raise _Fault(key, f"is none of {', '.join(KEYS)}")
    if not isinstance(value["steps"], list):
        raise _Fault("steps", "is no list")
    if type(value.get("version")) in {int, float}:
        value = value | {"version": document.written("version")}
    for key in ("name", "version", "description"):
        if not isinstance(value.get(key, ""), str):
            raise _Fault(key, "is no text")
    facts = {key: value[key] for key in FACTS if value.get(key) is not None}
    if fault := fault_in(facts, Pipeline, ""):
        raise _Fault(fault[0].lstrip("."), fault[1])
    return PipelineFile(
        steps=[_step(given, f"steps[{index}]") for index, given in enumerate(value["steps"])],
        name=value.get("name", ""),
        version=value.get("version", ""),
        description=value.get("description", ""),
        input_schema=facts.get("input_schema"),
        labels=facts.get("labels", {}),
        input=value.get("input"),
    )


def _step(given: Any, path: str) -> Step:
    said = {"named": given} if isinstance(given, str) else given
    if fault := fault_in(said, Step, path):
        raise _Fault(*fault)
    return json_format.ParseDict(said, Step())


def read_file(frame: Frame, file: IO[str]) -> PipelineFile:
    """Read a pipeline out of an open file, or end the command and say in which line of it something is wrong."""
    try:
        return read(file.read(), file.name)
    except PipelineFileError as error:
        raise frame.failure(str(error), WRONG_REQUEST) from None


def written(pipeline: Pipeline) -> str:
    """Write a pipeline as YAML that `read` understands."""
    said = json_format.MessageToDict(pipeline, preserving_proto_field_name=True)
    return dump({key: said[key] for key in ("name", "version", "description", *FACTS, "steps") if key in said})
