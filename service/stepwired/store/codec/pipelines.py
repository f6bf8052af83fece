"""Pipelines, as they are stored: the facts and the steps of a `stepwire.v1.Pipeline` apart."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from stepwire.v1 import pipeline_pb2
from stepwired.errors import Broken, Reason, Subject
from stepwired.store.codec.values import timestamp


@dataclass(frozen=True, slots=True)
class Encoded:
    """A version of a pipeline in two parts; joined, they are the whole message."""

    facts: bytes
    steps: bytes


def content(wire: pipeline_pb2.Pipeline) -> bytes:
    """Serialize what makes a version: all but name, version and time. Equal content gives equal bytes.

    What a newer client says and this program does not understand is left out: it could not be run.
    """
    made = pipeline_pb2.Pipeline()
    made.CopyFrom(wire)
    made.DiscardUnknownFields()
    for field in ("name", "version", "create_time"):
        made.ClearField(field)
    return made.SerializeToString(deterministic=True)


def digest(content: bytes) -> bytes:
    """Tells contents apart."""
    return hashlib.sha256(content).digest()


def encode(content: bytes, name: str, version: str, create_time_ns: int) -> Encoded:
    """Make what is stored of a content."""
    facts = decode(content)
    steps = pipeline_pb2.Pipeline(steps=facts.steps)
    facts.ClearField("steps")
    facts.name, facts.version = name, version
    if time := timestamp(create_time_ns):
        facts.create_time.CopyFrom(time)
    return Encoded(facts.SerializeToString(deterministic=True), steps.SerializeToString(deterministic=True))


def decode(body: bytes) -> pipeline_pb2.Pipeline:
    """Read a pipeline back.

    Raises:
        Broken: STORE_CORRUPT, the bytes are no pipeline.
    """
    try:
        return pipeline_pb2.Pipeline.FromString(body)
    except DecodeError:
        text = "a stored pipeline cannot be read: the store is damaged; restore it from a backup"
        raise Broken(Reason.STORE_CORRUPT, text, subject=Subject("store", "pipeline")) from None
