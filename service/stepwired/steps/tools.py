"""Steps as tools of chat models: which may be, what they say of themselves, and runs of them as text.

Arguments of a tool are an object. A step whose input is another thing gets it as the field `input` of one.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import aclosing

import msgspec

from stepwired.errors import Failure
from stepwired.events import Json, ToolAnswer, ToolStep, Usage, time_left_s
from stepwired.jsonschemas import SchemaInvalid, compiled
from stepwired.limits import KIB
from stepwired.steps import spec
from stepwired.steps.named import NamedStep
from stepwired.steps.registry import Registry
from stepwired.steps.results import ErrorMode, Item, Metadata, RunFinished, Value
from stepwired.steps.spec import Spec

_DESCRIPTION_BYTES = 8 * KIB

_INPUT = "input"

_encode = msgspec.json.Encoder(order="sorted").encode


class Tools:
    """The steps of a registry as `events.ToolSteps`.

    Args:
        registry: What finds and runs them. Asked for late: its own models may have tools.
        is_tool: Whether the operator lets models have the step of this name.
        as_json: How people see a value.
    """

    def __init__(
        self, registry: Callable[[], Registry], is_tool: Callable[[str], bool], as_json: Callable[[Value], Json]
    ) -> None:
        self._registry = registry
        self._is_tool = is_tool
        self._as_json = as_json

    async def find(self, name: str) -> ToolStep | None:
        """See `events.ToolSteps`."""
        found = await self._registry().find(name) if self._is_tool(name.partition("@")[0]) else None
        if found is None or found.input_schema is None:
            return None
        schema = _encode(_arguments(found.input_schema))
        if not _is_usable(schema):
            return None
        if isinstance(found, NamedStep):
            description = found.description
        else:
            of = (found.name, found.version)
            infos = await self._registry().infos()
            description = next((info.description for info in infos if (info.name, info.version) == of), "")
        return ToolStep(description.encode()[:_DESCRIPTION_BYTES].decode(errors="ignore"), schema)

    async def run(self, name: str, value: Json, *, limit_bytes: int) -> ToolAnswer:
        """See `events.ToolSteps`."""
        found = await self._registry().find(name)
        if found is not None and found.input_schema is not None and not _is_object(found.input_schema):
            value = _unwrapped(value)
        run_id = str(uuid.uuid4())
        answer = _Answer(limit_bytes)
        facts: Mapping[str, Json] = {}
        left_s = time_left_s()
        events = self._registry().run(
            [Spec(spec.Named(name), "steps[0]")],
            value,
            error_mode=ErrorMode.FAIL_FAST,
            events=False,
            run_id=run_id,
            time_left_s=None if left_s == float("inf") else left_s,
        )
        async with aclosing(events) as happenings:
            async for event in happenings:
                if isinstance(event, Item):
                    assert not isinstance(event.result, Failure), "the first failure ends the run"
                    answer.add(self._as_json(event.result))
                elif isinstance(event, RunFinished):
                    facts = _facts(run_id, name, event.metadata)
        text, total_bytes = answer.whole()
        return ToolAnswer(text, total_bytes, facts)


class _Answer:
    """The values of a run, as far as they are kept."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._first: Json = None
        self._count = 0
        self._parts: list[bytes] = []
        self._size_bytes = 2
        self._kept_bytes = 0

    def add(self, value: Json) -> None:
        if self._count == 0:
            self._first = value
        self._count += 1
        part = msgspec.json.encode(value)
        self._size_bytes += len(part) + (self._count > 1)
        if self._kept_bytes <= self._limit_bytes:
            self._parts.append(part)
            self._kept_bytes += len(part) + 1

    def whole(self) -> tuple[str, int]:
        """The text, which may be cut, and the bytes that it would have."""
        if self._count == 1 and isinstance(self._first, str):
            raw = self._first.encode()
            size_bytes = len(raw)
        elif self._count == 1:
            raw, size_bytes = self._parts[0], len(self._parts[0])
        else:
            raw, size_bytes = b"[%b]" % b",".join(self._parts), self._size_bytes
        return raw[: self._limit_bytes].decode(errors="ignore"), size_bytes


def _facts(run_id: str, name: str, run: Metadata) -> Mapping[str, Json]:
    """What of a run is kept with its answer."""
    step = run.steps[0] if run.steps else run
    facts: dict[str, Json] = {"run_id": run_id, "step": name, "duration_s": round(run.duration_s, 6)}
    if step.version:
        facts["version"] = step.version
    if run.attempts > 1:
        facts["attempts"] = run.attempts
    if run.usage is not None:
        facts["usage"] = _usage(run.usage)
    return facts


def _usage(usage: Usage) -> dict[str, Json]:
    counts: dict[str, Json] = {"source": usage.source.value}
    for field in ("input_tokens", "output_tokens", "reasoning_tokens", "cached_input_tokens", "cost_usd"):
        if (count := getattr(usage, field)) is not None:
            counts[field] = count
    return counts


def _is_object(schema: Mapping[str, Json]) -> bool:
    return schema.get("type", "object" if "properties" in schema else "") == "object"


def _arguments(schema: Mapping[str, Json]) -> dict[str, Json]:
    """What a model is told of a step's input."""
    if _is_object(schema):
        return {**schema, "type": "object"}
    return {"type": "object", "properties": {_INPUT: dict(schema)}, "required": [_INPUT]}


def _unwrapped(value: Json) -> Json:
    return value[_INPUT] if isinstance(value, dict) and value.keys() == {_INPUT} else value


def _is_usable(schema: bytes) -> bool:
    try:
        compiled(schema)
    except SchemaInvalid:
        return False
    return True
